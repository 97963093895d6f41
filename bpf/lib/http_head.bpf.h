/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Whether bytes may begin an HTTP/1 request. User space decides: this keeps other protocols out cheaply. */
#pragma once

#include "bpf/lib/kernel.bpf.h"

enum {
	HEAD_LOOK_BYTES = 16, /* the longest registered method has 17 letters; HTTP servers see a dozen of them */
};

struct head_look {
	__u8 bytes[HEAD_LOOK_BYTES];
};

/* A token of capital letters and a space. `PRI ` is the preface of HTTP/2. A global function: the verifier looks at its
 * loop once and not on every path to it, which halves the time that loading takes. */
__attribute__((noinline)) int find_request_line(const struct head_look *look)
{
	if (!look)
		return 0;
	const __u8 *bytes = look->bytes;
	const __u32 *first = (const __u32 *)bytes;
	switch (*first) {
	case 0x20544547: /* "GET " */
	case 0x54534f50: /* "POST" */
	case 0x20545550: /* "PUT " */
	case 0x44414548: /* "HEAD" */
	case 0x454c4544: /* "DELE" */
	case 0x43544150: /* "PATC" */
	case 0x4954504f: /* "OPTI" */
		return 1;
	case 0x20495250: /* "PRI " */
		return 0;
	}
	for (int i = 0; i < HEAD_LOOK_BYTES; i++) {
		if (bytes[i] == ' ')
			return i >= 2 && i + 1 < HEAD_LOOK_BYTES &&
			       (bytes[i + 1] == '/' || bytes[i + 1] == '*' || bytes[i + 1] == 'h');
		if ((bytes[i] < 'A' || bytes[i] > 'Z') && bytes[i] != '-')
			return 0;
	}
	return 0;
}

static __always_inline bool looks_like_request(const __u8 bytes[HEAD_LOOK_BYTES])
{
	return find_request_line((const struct head_look *)bytes);
}
