/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the headers of bpf/include need to be C for the kernel and C++ for the agent. */
#pragma once

#ifdef __bpf__
/* The kernel's own names; vmlinux.h is not in the tree. */
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
#define KERNEL_BOUNDARY_ASSERT _Static_assert
#else
#include <linux/types.h>
#define KERNEL_BOUNDARY_ASSERT static_assert
#endif
