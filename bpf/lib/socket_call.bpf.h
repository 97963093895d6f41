/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The system call that is moving bytes over a socket, as the registers of the task tell it. */
#pragma once

#include "bpf/lib/kernel.bpf.h"

struct socket_call {
	__u64 address; /* of the bytes in user space; 0: they are not to be seen */
	__u32 visible; /* bytes there */
	__s32 fd;      /* -1: unknown */
	__u64 g;       /* r14; 0 when the call cannot be Go's own */
	__u64 stack_pointer;
};

/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	CALL_READ = 0,
	CALL_WRITE = 1,
	CALL_READV = 19,
	CALL_WRITEV = 20,
	CALL_SENDFILE = 40,
	CALL_SENDTO = 44,
	CALL_RECVFROM = 45,
	CALL_SENDMSG = 46,
	CALL_RECVMSG = 47,
};

struct user_segment {
	__u64 address;
	__u64 length;
};

/* Only the first segment: Go's net/http writes none of several. What lies behind it counts as bytes not seen. */
static __always_inline void use_first_segment(struct socket_call *call, __u64 segments, __u32 length)
{
	struct user_segment first;
	if (!segments || bpf_probe_read_user(&first, sizeof(first), (void *)segments))
		return;
	call->address = first.address;
	call->visible = first.length < length ? first.length : length;
}

static __always_inline void find_socket_call(struct socket_call *call, struct task_struct *task, __u32 length)
{
	__u64 segments = 0;

	call->address = call->visible = call->g = call->stack_pointer = 0;
	call->fd = -1;
	if (unlikely(task->flags & TASK_IO_WORKER || task->thread_info.status & THREAD_COMPAT))
		return;
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	switch (__builtin_expect(regs->orig_ax, CALL_READ)) {
	case CALL_READ:
	case CALL_WRITE:
	case CALL_RECVFROM:
	case CALL_SENDTO:
		call->address = regs->si;
		call->visible = length;
		break;
	case CALL_READV:
	case CALL_WRITEV:
		use_first_segment(call, regs->si, length);
		break;
	case CALL_RECVMSG:
	case CALL_SENDMSG:
		/* struct user_msghdr: msg_iov at 16 */
		if (!bpf_probe_read_user(&segments, sizeof(segments), (void *)(regs->si + 16)))
			use_first_segment(call, segments, length);
		break;
	case CALL_SENDFILE:
		break;
	default:
		return;
	}
	call->fd = regs->di;
	call->g = regs->r14;
	call->stack_pointer = regs->sp;
}
