/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The few kernel types that the programs read, declared by us: CO-RE finds the fields in the running kernel. */
#pragma once

#include "bpf/include/types.h"

#include <stdbool.h>
#include <stddef.h>

#include <linux/bpf.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* Where the code of the plain case shall lie together: the programs run with cold caches. */
#define likely(condition) __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
	struct sock_common __sk_common;
	int sk_err;
	__u16 sk_protocol;
};

struct tcp_sock {
	__u32 copied_seq;
	__u32 write_seq;
};

struct thread_info {
	__u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	int tgid;
	struct task_struct *group_leader;
	__u64 start_boottime;
};

struct pt_regs {
	unsigned long r14;
	unsigned long bp;
	unsigned long bx;
	unsigned long ax;
	unsigned long cx;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
	unsigned long flags;
	unsigned long sp;
};

#pragma clang attribute pop

/* include/linux/sched.h, asm/thread_info.h, linux/socket.h, uapi/asm-generic/errno-base.h, net/tcp_states.h */
enum {
	TASK_EXITING = 0x4,    /* PF_EXITING */
	TASK_IO_WORKER = 0x10, /* PF_IO_WORKER */
	THREAD_COMPAT = 0x2,   /* TS_COMPAT */
	FAMILY_INET = 2,
	FAMILY_INET6 = 10,
	MESSAGE_PEEK = 2,
	ERROR_INTERRUPTED = 4,
	ERROR_AGAIN = 11,
	ERROR_RESTART = 512, /* ERESTARTSYS and its kin: the call is made again */
	STATE_ESTABLISHED = 1,
	STATE_FIN_WAIT1 = 4,
	STATE_CLOSE = 7,
	STATE_CLOSE_WAIT = 8,
	STATE_LAST_ACK = 9,
};

/* Programs share per-CPU data and, from 6.13 on, private stacks, which preemption would hand to another task. A uprobe
 * runs with preemption on, a tracepoint with it off (PREEMPT_RT kernels are another matter, and not tested). */
extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

static __always_inline void preempt_guard_enter(void)
{
	if (bpf_preempt_disable)
		bpf_preempt_disable();
}

static __always_inline void preempt_guard_leave(void)
{
	if (bpf_preempt_enable)
		bpf_preempt_enable();
}
