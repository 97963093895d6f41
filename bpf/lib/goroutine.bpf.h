/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Which goroutine a register file belongs to. */
#pragma once

#include "bpf/include/config.h"
#include "bpf/lib/kernel.bpf.h"

struct goroutine {
	__u64 goid;        /* 0: unknown */
	__u64 parent_goid; /* 0: unknown */
};

struct goroutine_bytes {
	__u8 bytes[GO_G_BYTES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct goroutine_bytes);
} goroutine_scratch SEC(".maps");

static __always_inline bool read_word(const struct goroutine_bytes *g, __u32 offset, __u64 *word)
{
	if (offset > GO_G_BYTES_MAX - sizeof(*word))
		return false;
	*word = *(const __u64 *)(g->bytes + offset);
	return true;
}

/* One that was proved before; goids are never used again. */
struct known_goroutine {
	__u64 g;
	__u64 goid;
	__u64 parent_goid;
};

enum {
	/* runtime.g up to goid, in every Go from 1.17 to 1.27. */
	GO_G_BEGIN_BYTES = 176,
};

static __always_inline bool is_on_its_stack(
	const struct process_config *config, const struct goroutine_bytes *g, __u64 stack_pointer)
{
	__u64 stack_lo, stack_hi;
	return read_word(g, config->go.g_stack_lo, &stack_lo) && read_word(g, config->go.g_stack_hi, &stack_hi) &&
	       stack_pointer >= stack_lo && stack_pointer <= stack_hi;
}

static __always_inline bool runs_on_its_thread(
	const struct process_config *config, const struct goroutine_bytes *g, __u64 address)
{
	__u64 thread, current;
	return read_word(g, config->go.g_m, &thread) &&
	       !bpf_probe_read_user(&current, sizeof(current), (void *)(thread + config->go.m_curg)) &&
	       current == address;
}

/* r14 is g in Go's code, and anything in C's: it is believed when the stack pointer lies in the stack of that g
 * and its thread says that this g is what runs. */
static __always_inline bool find_goroutine(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct goroutine *found)
{
	__u32 zero = 0;
	struct goroutine_bytes *g = bpf_map_lookup_elem(&goroutine_scratch, &zero);

	found->goid = found->parent_goid = 0;
	if (!g || !config->go.g_goid || bpf_probe_read_user(g, sizeof(*g), (void *)address))
		return false;
	if (!is_on_its_stack(config, g, stack_pointer) || !runs_on_its_thread(config, g, address))
		return false;
	if (config->go.g_parent_goid)
		read_word(g, config->go.g_parent_goid, &found->parent_goid);
	return read_word(g, config->go.g_goid, &found->goid) && found->goid;
}

/* The same of a goroutine that most likely was proved before: on the stack of a g with the goid of then, nothing else can
 * run, and its thread need not be asked again. */
static __always_inline bool find_goroutine_again(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct known_goroutine *known,
	struct goroutine *found)
{
	__u32 zero = 0;
	__u64 goid = 0;
	struct goroutine_bytes *g = bpf_map_lookup_elem(&goroutine_scratch, &zero);

	if (g && known->g == address && config->go.g_goid <= GO_G_BEGIN_BYTES - sizeof(goid) &&
	    !bpf_probe_read_user(g, GO_G_BEGIN_BYTES, (void *)address) && is_on_its_stack(config, g, stack_pointer) &&
	    read_word(g, config->go.g_goid, &goid) && goid && goid == known->goid) {
		found->goid = goid;
		found->parent_goid = known->parent_goid;
		return true;
	}
	if (!find_goroutine(config, address, stack_pointer, found))
		return false;
	known->g = address;
	known->goid = found->goid;
	known->parent_goid = found->parent_goid;
	return true;
}
