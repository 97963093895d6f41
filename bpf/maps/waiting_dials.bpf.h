/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The call for which a goroutine waits, since no idle connection could take it: told by the probe on
 * Transport.queueForDial, taken when the call fails without a connection. What got one stays until the goroutine waits
 * again. */
#pragma once

#include "bpf/lib/kernel.bpf.h"

struct dial_key {
	__u64 g; /* the address of the goroutine's runtime.g */
	__u32 tgid;
	__u32 zero;
};

struct waiting_dial {
	__u64 call_ns;
	__u64 want_conn; /* the address of the *wantConn */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WAITING_DIALS_MAX);
	__type(key, struct dial_key);
	__type(value, struct waiting_dial);
} waiting_dials SEC(".maps");
