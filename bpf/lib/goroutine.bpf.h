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
	__u64 stack_lo;
	__u64 stack_hi;
	__u64 goid;
	__u64 parent_goid;
};

static __always_inline bool runs_on_its_thread(
	const struct process_config *config, const struct goroutine_bytes *g, __u64 address)
{
	__u64 thread, current;
	return read_word(g, config->go.g_m, &thread) &&
	       !bpf_probe_read_user(&current, sizeof(current), (void *)(thread + config->go.m_curg)) &&
	       current == address;
}

/* The g at an address when the stack pointer lies in its stack, NULL when it does not. */
static __always_inline const struct goroutine_bytes *read_goroutine(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct known_goroutine *found)
{
	__u32 zero = 0;
	struct goroutine_bytes *g = bpf_map_lookup_elem(&goroutine_scratch, &zero);

	__builtin_memset(found, 0, sizeof(*found));
	if (!g || !config->go.g_goid || bpf_probe_read_user(g, sizeof(*g), (void *)address) ||
	    !read_word(g, config->go.g_stack_lo, &found->stack_lo) ||
	    !read_word(g, config->go.g_stack_hi, &found->stack_hi) || stack_pointer < found->stack_lo ||
	    stack_pointer > found->stack_hi || !read_word(g, config->go.g_goid, &found->goid))
		return NULL;
	if (config->go.g_parent_goid)
		read_word(g, config->go.g_parent_goid, &found->parent_goid);
	found->g = address;
	return g;
}

/* In a function of Go's that no system stack runs, r14 is g: that its stack is the one in use proves the layout. */
static __always_inline bool find_goroutine_of_function(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct goroutine *found)
{
	struct known_goroutine known;
	const struct goroutine_bytes *g = read_goroutine(config, address, stack_pointer, &known);

	found->goid = g ? known.goid : 0;
	found->parent_goid = g ? known.parent_goid : 0;
	return found->goid;
}

/* Elsewhere r14 may be anything, C code may run: it is believed when, besides, its thread says that this g is what
 * runs. */
static __always_inline bool find_goroutine(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct known_goroutine *found)
{
	const struct goroutine_bytes *g = read_goroutine(config, address, stack_pointer, found);

	if (!g || !found->goid || !runs_on_its_thread(config, g, address)) {
		found->goid = found->parent_goid = 0;
		return false;
	}
	return true;
}

/* The same of a goroutine that most likely was proved before: on the stack of a g with the goid of then, nothing else can
 * run, and its thread need not be asked again. */
static __always_inline bool find_goroutine_again(
	const struct process_config *config, __u64 address, __u64 stack_pointer, struct known_goroutine *known)
{
	__u64 goid = 0;

	if (likely(known->g == address && stack_pointer >= known->stack_lo && stack_pointer <= known->stack_hi &&
	           !bpf_probe_read_user(&goid, sizeof(goid), (void *)(address + config->go.g_goid)) && goid &&
	           goid == known->goid))
		return true;
	return find_goroutine(config, address, stack_pointer, known);
}
