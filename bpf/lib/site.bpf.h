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
	return regs->flags & (FLAG_CARRY | FLAG_ZERO) && bpf_get_attach_cookie(regs) & SITE_FILTER_BY_FLAGS;
}

static __always_inline void fill_header(struct record_header *header, const struct traced_process *process, __u16 kind)
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

/* The dynamic type of an interface value lies behind its itab's first word. */
struct go_interface {
	__u64 table;
	__u64 data;
};

static __always_inline __u64 type_of(const struct go_interface *value)
{
	__u64 type = 0;
	if (value->table)
		bpf_probe_read_user(&type, sizeof(type), (void *)(value->table + 8));
	return type;
}

static __always_inline bool is_timeout_type(const struct process_config *config, __u64 type)
{
	bool found = false;
	for (int i = 0; i < TIMEOUT_TYPES_MAX; i++)
		found |= type && type == config->timeout_types[i];
	return found;
}

/* internal/abi.Type: Kind_, and the kind of every type whose values are strings. */
enum {
	GO_TYPE_KIND_AT = 23,
	GO_TYPE_KIND_MASK = 31,
	GO_KIND_STRING = 24,
};

static __always_inline bool is_string_type(__u64 type)
{
	__u8 kind = 0;
	return type && !bpf_probe_read_user(&kind, sizeof(kind), (void *)(type + GO_TYPE_KIND_AT)) &&
	       (kind & GO_TYPE_KIND_MASK) == GO_KIND_STRING;
}

/* The string whose header lies at an address. Returns flags for the record's header. */
static __always_inline __u16 read_message_at(__u64 header_at, struct message *message)
{
	struct go_string string = {};

	message->message_at = header_at;
	message->bytes = message->length = 0;
	if (bpf_probe_read_user(&string, sizeof(string), (void *)header_at))
		return MESSAGE_NOT_RESIDENT;
	__u32 size = string.length < MESSAGE_BYTES_MAX ? string.length : MESSAGE_BYTES_MAX;
	if (bpf_probe_read_user(message->text, size, (void *)string.address))
		return MESSAGE_NOT_RESIDENT;
	message->bytes = size;
	message->length = string.length;
	return 0;
}

/* The string that a value of one of the message types begins with. Returns flags for the record's header. */
static __always_inline __u16
read_message(const struct process_config *config, __u64 type, __u64 data, struct message *message)
{
	bool known = is_string_type(type);

	message->message_at = data;
	message->bytes = message->length = 0;
	for (int i = 0; i < MESSAGE_TYPES_MAX; i++)
		known |= type && type == config->message_types[i];
	return known ? read_message_at(data, message) : 0;
}
