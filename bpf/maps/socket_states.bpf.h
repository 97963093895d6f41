/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the kernel remembers of a connection. It lives in the socket, so that it ends with it: a `struct sock *` is
 * reused at once and is no key. */
#pragma once

#include "bpf/lib/goroutine.bpf.h"
#include "bpf/lib/http_head.bpf.h"
#include "bpf/lib/kernel.bpf.h"

enum socket_role {
	ROLE_UNKNOWN,
	ROLE_SERVER,
	ROLE_CLIENT,
};

enum socket_phase {
	PHASE_NONE,    /* no exchange was seen */
	PHASE_REQUEST, /* a sampled exchange whose answer has not begun */
	PHASE_ANSWER,  /* … has begun; it may be complete */
	PHASE_SKIPPED, /* the same two of an exchange that is not sampled */
	PHASE_SKIPPED_ANSWER,
	PHASE_TUNNEL, /* another protocol from here on: nothing is looked at any more */
};

struct socket_state {
	__u64 socket_id;
	__u64 received_bytes;
	__u64 sent_bytes;
	__u64 goid;                    /* whose open_requests row ends with the connection; 0: none */
	struct known_goroutine reader; /* of the last request */
	__u64 persist_conn;            /* of a client's connection; 0: unknown */
	__u64 held_ns;                 /* a few bytes that were read alone and may begin the next head */
	__u64 held_offset;             /* of the first of them */
	__u32 tgid;
	__u16 receive_budget; /* bytes of the current exchange that are still copied whole */
	__u16 send_budget;
	__u8 role;
	__u8 phase;
	__u8 held_bytes;
	__u8 told; /* user space knows the connection and wants to hear of its end */
	__u8 reserved[4];
	__u8 held[2 * HEAD_LOOK_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} socket_states SEC(".maps");

static __always_inline struct socket_state *find_socket_state(struct sock *sock)
{
	return bpf_sk_storage_get(&socket_states, sock, NULL, 0);
}

static __always_inline struct socket_state *make_socket_state(struct sock *sock, __u32 tgid)
{
	struct socket_state *state = bpf_sk_storage_get(&socket_states, sock, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (state && !state->socket_id) {
		state->socket_id = bpf_get_socket_cookie(sock);
		state->tgid = tgid;
	}
	return state;
}

static __always_inline bool is_recorded(const struct socket_state *state)
{
	return state->phase == PHASE_REQUEST || state->phase == PHASE_ANSWER;
}
