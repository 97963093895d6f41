/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What was lost and what the programs cost; per CPU, added up by user space. */
#pragma once

#include "bpf/include/counters.h"
#include "bpf/lib/kernel.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LOSS_REASONS);
	__type(key, __u32);
	__type(value, __u64);
} losses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PROGRAM_IDS);
	__type(key, __u32);
	__type(value, struct program_use);
} program_use SEC(".maps");

static __always_inline void count_loss(__u32 reason)
{
	__u64 *count = bpf_map_lookup_elem(&losses, &reason);
	if (count)
		++*count;
}

/* One hit; at its end pass the result to count_time. */
static __always_inline struct program_use *count_hit(__u32 program)
{
	struct program_use *use = bpf_map_lookup_elem(&program_use, &program);
	if (use)
		++use->hits;
	return use;
}

static __always_inline void count_time(struct program_use *use, __u64 started_ns)
{
	if (likely(!use || use->hits % PROGRAM_TIME_EVERY_HITS))
		return;
	++use->timed_hits;
	use->timed_ns += bpf_ktime_get_boot_ns() - started_ns;
}
