/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the headers of bpf/include need to be C for the kernel and C++ for the agent. */
#pragma once

#include <linux/types.h>

#ifdef __bpf__
#define KERNEL_BOUNDARY_ASSERT _Static_assert
#else
#define KERNEL_BOUNDARY_ASSERT static_assert
#endif
