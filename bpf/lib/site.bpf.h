/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the programs at Go functions share. */
#pragma once

#include "bpf/include/config.h"
#include "bpf/maps/process_config.bpf.h"
#include "bpf/maps/records.bpf.h"

enum {
	FLAG_CARRY = 0x1,
	FLAG_ZERO = 0x40,
};

/* At the branch of the stack check: taken, the stack grows and the function starts anew. */
static __always_inline bool is_stack_growing(struct pt_regs *regs)
{
	return bpf_get_attach_cookie(regs) & SITE_FILTER_BY_FLAGS && regs->flags & (FLAG_CARRY | FLAG_ZERO);
}

static __always_inline void fill_header(
	struct record_header *header, const struct traced_process *process, __u16 kind)
{
	header->time_ns = process->now_ns;
	header->socket_id = 0;
	header->tgid = process->tgid;
	header->kind = kind;
	header->flags = 0;
}

struct go_string {
	__u64 address;
	__u64 length;
};

/* The string that a value of one of the message types begins with. */
static __always_inline void read_message(
	const struct process_config *config, __u64 type, __u64 data, char message[MESSAGE_BYTES_MAX],
	__u32 *bytes, __u32 *length)
{
	struct go_string string = {};
	bool known = false;

	*bytes = *length = 0;
	for (int i = 0; i < MESSAGE_TYPES_MAX; i++)
		known |= type && type == config->message_types[i];
	if (!known || bpf_probe_read_user(&string, sizeof(string), (void *)data))
		return;
	__u32 size = string.length < MESSAGE_BYTES_MAX ? string.length : MESSAGE_BYTES_MAX;
	if (bpf_probe_read_user(message, size, (void *)string.address))
		return;
	*bytes = size;
	*length = string.length;
}
