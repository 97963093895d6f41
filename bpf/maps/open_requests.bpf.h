/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The request that a goroutine answers, so that the calls it makes inherit the sampling decision. Only kept for processes
 * whose calls are traced. A keep-alive connection has one goroutine, so that its row is written in place. */
#pragma once

#include "bpf/maps/counters.bpf.h"

struct goroutine_key {
	__u64 goid;
	__u32 tgid;
	__u32 zero;
};

struct open_request {
	__u64 randomness;
	__u64 sampled;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, OPEN_REQUESTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct goroutine_key);
	__type(value, struct open_request);
} open_requests SEC(".maps");

static __always_inline void remember_request(__u32 tgid, __u64 goid, __u64 randomness, bool sampled)
{
	if (!goid)
		return;
	struct goroutine_key key = {.goid = goid, .tgid = tgid};
	struct open_request *request = bpf_map_lookup_elem(&open_requests, &key);
	if (request) {
		request->randomness = randomness;
		request->sampled = sampled;
		return;
	}
	struct open_request added = {.randomness = randomness, .sampled = sampled};
	if (bpf_map_update_elem(&open_requests, &key, &added, BPF_ANY))
		count_loss(LOSS_TABLE_FULL);
}

static __always_inline struct open_request *find_request(__u32 tgid, __u64 goid)
{
	struct goroutine_key key = {.goid = goid, .tgid = tgid};
	return goid ? bpf_map_lookup_elem(&open_requests, &key) : NULL;
}

static __always_inline void forget_request(__u32 tgid, __u64 goid)
{
	struct goroutine_key key = {.goid = goid, .tgid = tgid};
	if (goid)
		bpf_map_delete_elem(&open_requests, &key);
}
