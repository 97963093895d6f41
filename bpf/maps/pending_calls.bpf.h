/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The client call that a goroutine is about to make on a connection, told by the probe on persistConn.roundTrip and taken
 * by the write that begins the request. Keyed by file descriptor, written in place while the connection lives. */
#pragma once

#include "bpf/maps/counters.bpf.h"

struct connection_key {
	__u32 tgid;
	__s32 fd;
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
	__u32 inherited;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PENDING_CALLS_MAX);
	__type(key, struct connection_key);
	__type(value, struct pending_call);
} pending_calls SEC(".maps");
