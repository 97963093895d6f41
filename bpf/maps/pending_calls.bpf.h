/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The client call that a goroutine is about to make on a connection, told by the probe on persistConn.roundTrip and taken
 * by the write that begins the request. Go knows the connection as a persistConn, the kernel as a socket: the first call ties
 * the two by the file descriptor, which takes four reads to find; from then on the socket's state names the persistConn. */
#pragma once

#include "bpf/maps/counters.bpf.h"
#include "bpf/maps/socket_states.bpf.h"

struct persist_conn_key {
	__u64 address;
	__u32 tgid;
	__u32 zero;
};

enum pending_state {
	PENDING_NONE, /* taken */
	PENDING_SAMPLED,
	PENDING_SKIPPED, /* not sampled: the write begins an exchange that is not recorded */
};

struct pending_call {
	__u64 call_ns;
	__u64 goid;
	__u64 parent_goid;
	__u64 randomness;
	__u32 state;
	__u8 inherited;
	__u8 tied; /* an open socket names this persistConn */
	__u8 reserved[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PENDING_CALLS_MAX);
	__type(key, struct persist_conn_key);
	__type(value, struct pending_call);
} pending_calls SEC(".maps");

struct descriptor_key {
	__u32 tgid;
	__s32 fd;
};

/* Address of the persistConn, until its first call is written. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, UNTIED_CONNECTIONS_MAX);
	__type(key, struct descriptor_key);
	__type(value, __u64);
} untied_connections SEC(".maps");

static __always_inline struct pending_call *find_pending_call(__u32 tgid, __u64 persist_conn)
{
	struct persist_conn_key key = {.address = persist_conn, .tgid = tgid};
	return bpf_map_lookup_elem(&pending_calls, &key);
}

/* The persistConn of a socket that may be a client's, 0 when none was announced. */
static __always_inline __u64 find_persist_conn(const struct socket_state *state, __u32 tgid, int fd)
{
	if (state && state->persist_conn)
		return state->persist_conn;
	struct descriptor_key key = {.tgid = tgid, .fd = fd};
	__u64 *persist_conn = fd >= 0 ? bpf_map_lookup_elem(&untied_connections, &key) : NULL;
	return persist_conn ? *persist_conn : 0;
}

static __always_inline void tie_connection(
	struct socket_state *state, struct pending_call *call, __u64 persist_conn, __u32 tgid, int fd)
{
	if (state->persist_conn == persist_conn)
		return;
	struct descriptor_key key = {.tgid = tgid, .fd = fd};
	state->persist_conn = persist_conn;
	call->tied = 1;
	bpf_map_delete_elem(&untied_connections, &key);
}

/* The memory of a persistConn may be another's once its connection is closing. */
static __always_inline void untie_connection(struct socket_state *state)
{
	struct persist_conn_key key = {.address = state->persist_conn, .tgid = state->tgid};
	if (!state->persist_conn)
		return;
	bpf_map_delete_elem(&pending_calls, &key);
	state->persist_conn = 0;
}
