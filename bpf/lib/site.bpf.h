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

/* The string that a value begins with whose type is one of the message types, or a string. Returns flags for the record's
 * header. */
static __always_inline __u16
read_message(const struct process_config *config, __u64 type, __u64 data, struct message *message)
{
	bool known = false;
	__u8 kind = 0;

	message->message_at = data;
	message->bytes = message->length = 0;
	if (!type)
		return 0;
	for (int i = 0; i < MESSAGE_TYPES_MAX; i++)
		known |= type == config->message_types[i];
	if (!known && bpf_probe_read_user(&kind, sizeof(kind), (void *)(type + GO_TYPE_KIND_AT)))
		return TYPE_NOT_RESIDENT;
	known |= (kind & GO_TYPE_KIND_MASK) == GO_KIND_STRING;
	return known ? read_message_at(data, message) : 0;
}

/* The message of an error whose type is `type` as far as that could be read. */
static __always_inline __u16 read_error_message(
	const struct process_config *config, const struct go_interface *error, __u64 type, struct message *message)
{
	__u16 flags = read_message(config, type, error->data, message);
	return error->table && !type ? TYPE_NOT_RESIDENT : flags;
}

static __always_inline void leave_unread(
	const struct process_config *config, const struct go_interface *error, struct unread_error *unread)
{
	unread->itab = error->table;
	unread->data = error->data;
	__builtin_memset(&unread->dial, 0, sizeof(unread->dial));
	__builtin_memcpy(unread->message_types, config->message_types, sizeof(unread->message_types));
	__builtin_memcpy(unread->timeout_types, config->timeout_types, sizeof(unread->timeout_types));
}
