/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Which local roots are kept: by ratio, then by rate. */
#pragma once

#include "bpf/include/config.h"
#include "bpf/maps/counters.bpf.h"

/* SplitMix64 over what no two requests share: as even as a generator of the kernel's, without the call. */
static __always_inline __u64 draw_randomness(__u64 now_ns, __u64 salt)
{
	__u64 z = now_ns + salt * 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) & (SAMPLING_THRESHOLD_NEVER - 1);
}

/* Then no decision needs to be handed on: user space knows which call belongs to which request. */
static __always_inline bool keeps_everything(const struct process_config *config)
{
	return !config->sampling_threshold && !config->spans_per_second;
}

/* A token bucket of one second, kept as the time at which it is full again. Two CPUs may take the same token: the rate
 * is a limit of cost, not an exact count. */
static __always_inline bool take_token(struct process_config *config, __u64 now_ns)
{
	const __u64 second_ns = 1000000000;
	if (!config->spans_per_second)
		return true;
	__u64 full_ns = config->next_span_ns > now_ns ? config->next_span_ns : now_ns;
	__u64 next_ns = full_ns + second_ns / config->spans_per_second;
	if (next_ns > now_ns + second_ns)
		return false;
	config->next_span_ns = next_ns;
	return true;
}
