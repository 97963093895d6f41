/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the programs count: per-CPU arrays of u64, `losses` indexed by loss_reason and `program_use` by program_id; user
 * space adds up the CPUs. They are shown in the heartbeat and in the session. */
#pragma once

#include "bpf/include/types.h"

enum loss_reason {
	LOSS_RING_FULL = 0,          /* records that found no room */
	LOSS_RATE_LIMITED = 1,       /* requests over spans_per_second */
	LOSS_NOT_SAMPLED = 2,        /* requests below the threshold: wanted, not a fault */
	LOSS_SOCKET_STORAGE = 3,     /* chunks of a connection for which the kernel gave no memory */
	LOSS_BYTES_UNREADABLE = 4,   /* bytes, or a request without a connection, that are not where they should be */
	LOSS_GOROUTINE_UNKNOWN = 5,  /* requests whose register was not a goroutine's */
	LOSS_CALL_NOT_PLAIN_TCP = 6, /* client calls over TLS or a connection that is not a *net.TCPConn */
	LOSS_TABLE_FULL = 7,         /* open requests or pending calls without room: children become local roots */
	LOSS_REASONS = 8,
};

enum program_id {
	PROGRAM_RECEIVED = 0,
	PROGRAM_SENT = 1,
	PROGRAM_SOCKET_STATE = 2,
	PROGRAM_PANIC = 3,
	PROGRAM_CLIENT_CALL = 4,
	PROGRAM_CLIENT_ERROR = 5,
	PROGRAM_DIAL = 6,
	PROGRAM_DIAL_ERROR = 7,
	PROGRAM_IDS = 8,
};

/* Hits in traced processes, before their deadline. Time is measured on one hit of PROGRAM_TIME_EVERY_HITS. */
struct program_use {
	__u64 hits;
	__u64 timed_hits;
	__u64 timed_ns;
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct program_use) == 24, "program_use crosses the kernel boundary");
