/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The ring of records, and how one is made. */
#pragma once

#include "bpf/include/records.h"
#include "bpf/lib/http_head.bpf.h"
#include "bpf/maps/counters.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, RECORD_RING_BYTES);
} records SEC(".maps");

/* The default wakes the reader for every record, which costs 6 us each: it polls, and is woken when the ring fills. To
 * look costs too, so that one record in eight does, by the clock. */
static __always_inline __u64 wakeup_flags(__u64 now_ns)
{
	if (((now_ns ^ now_ns >> 4) & 7) == 0 &&
	    bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= RECORD_RING_WAKEUP_BYTES)
		return BPF_RB_FORCE_WAKEUP;
	return BPF_RB_NO_WAKEUP;
}

/* The ring wants constant sizes. The verifier follows each class on its own, so that the bound on `bytes_max` which
 * chose the class holds for what is written into it. */
static __always_inline struct chunk_record *reserve_chunk(__u32 bytes_max)
{
	const __u32 around = sizeof(struct chunk_record) + CHUNK_EDGE_BYTES + HEAD_LOOK_BYTES;
	if (bytes_max <= 256)
		return bpf_ringbuf_reserve(&records, 256 + around, 0);
	if (bytes_max <= 512)
		return bpf_ringbuf_reserve(&records, 512 + around, 0);
	if (bytes_max <= 1024)
		return bpf_ringbuf_reserve(&records, 1024 + around, 0);
	if (bytes_max <= 1536)
		return bpf_ringbuf_reserve(&records, 1536 + around, 0);
	if (bytes_max <= 4096)
		return bpf_ringbuf_reserve(&records, 4096 + around, 0);
	return bpf_ringbuf_reserve(&records, EXCHANGE_BYTES_MAX + around, 0);
}
