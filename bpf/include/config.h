/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What user space tells the programs: one row per traced process in the map `process_config`, keyed by tgid
 * (u32, as the initial pid namespace counts). A process without a row costs one lookup per socket call.
 *
 * A row is replaced whole (bpf_map_update_elem). Several sessions on one process share its row: the loosest threshold,
 * the highest rate, the latest deadline; user space fans out by randomness >= the session's own threshold. */
#pragma once

#include "bpf/include/limits.h"
#include "bpf/include/types.h"

enum process_flags {
	PROCESS_SERVER = 1 << 0,  /* requests that the process answers */
	PROCESS_CLIENT = 1 << 1,  /* calls that it makes; needs http_client.bpf.c at persistConn.roundTrip */
	PROCESS_LINEAGE = 1 << 2, /* a call may belong to the request of the goroutine that started its goroutine */
	PROCESS_HOP_KEY = 1 << 3, /* exchanges carry their TCP stream positions */
};

/* What bpf_get_attach_cookie() says about the site of a function probe. */
enum site_cookie {
	/* The site is the branch of the stack check (Go before 1.21): with CF or ZF set the stack grows and the function
	 * starts anew, so that this hit is not a call. */
	SITE_FILTER_BY_FLAGS = 1 << 0,
};

/* Randomness and threshold are the 56 bits of W3C trace context level 2: kept when randomness >= threshold. */
#define SAMPLING_RANDOMNESS_BITS 56
#define SAMPLING_THRESHOLD_NEVER (1ull << SAMPLING_RANDOMNESS_BITS)

/* Offsets in bytes into structs of the Go runtime, as this binary lays them out. */
struct go_layout {
	__u16 g_stack_lo;
	__u16 g_stack_hi;
	__u16 g_m;
	__u16 g_goid;
	__u16 g_parent_goid; /* 0: this Go has none (before 1.21) */
	__u16 m_curg;
	__u16 reserved[2];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct go_layout) == 16, "go_layout crosses the kernel boundary");

/* net/http's client. All zero when PROCESS_CLIENT is off. Type addresses are those of the running process: the file's
 * address plus the load bias. */
struct go_http_client_layout {
	__u16 persist_conn_conn;         /* net/http.persistConn.conn, an interface */
	__u16 persist_conn_canceled_err; /* net/http.persistConn.canceledErr, an interface; 0: unknown */
	__u16 tcp_conn_fd;               /* net.TCPConn.conn.fd, a *netFD */
	__u16 net_fd_sysfd;              /* net.netFD.pfd.Sysfd, an int */
	__u64 tcp_conn_type;             /* address of the type descriptor of *net.TCPConn */
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct go_http_client_layout) == 16, "it crosses the kernel boundary");

/* What a call says that fails before it has a connection, and why it does. All zero when such calls are not followed.
 * Type addresses are those of the running process; 0: unknown. */
struct go_http_dial_layout {
	__u16 request_method; /* net/http.Request.Method, a string */
	__u16 request_url;    /* net/http.Request.URL, a *url.URL */
	__u16 url_scheme;     /* net/url.URL, all strings */
	__u16 url_opaque;
	__u16 url_host;
	__u16 url_path;
	__u16 url_raw_path;
	__u16 url_raw_query;
	__u16 op_error_err;         /* net.OpError.Err, an interface */
	__u16 syscall_error_err;    /* os.SyscallError.Err, an interface */
	__u16 dns_error_err;        /* net.DNSError.Err, a string */
	__u16 dns_error_is_timeout; /* net.DNSError.IsTimeout, a bool */
	__u64 op_error_type;        /* *net.OpError */
	__u64 syscall_error_type;   /* *os.SyscallError */
	__u64 errno_type;           /* syscall.Errno */
	__u64 dns_error_type;       /* *net.DNSError */
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct go_http_dial_layout) == 56, "it crosses the kernel boundary");

struct process_config {
	__u64 deadline_ns;        /* CLOCK_BOOTTIME; past it the programs do nothing for this process */
	__u64 start_time_min_ns;  /* the process started in the 10 ms from here (/proc/<pid>/stat, field 22, in ns since
	                           * boot): a reused pid is not traced. 0: not checked */
	__u64 sampling_threshold; /* 56 bits, or SAMPLING_THRESHOLD_NEVER; 0 keeps everything */
	__u64 next_span_ns;       /* owned by the kernel (the token bucket); write 0 */
	__u32 spans_per_second;   /* of new local roots; 0: no limit. A burst of one second's worth is allowed */
	__u32 flags;              /* enum process_flags */
	struct go_layout go;      /* all zero: goroutines are unknown, the bytes stand without one */
	struct go_http_client_layout client;
	struct go_http_dial_layout dial;
	/* Type addresses (load bias included) whose value starts with a string header, for the message of a panic:
	 * string, runtime.errorString, runtime.plainError, *errors.errorString, *fmt.wrapError, …; 0 ends the list. */
	__u64 message_types[MESSAGE_TYPES_MAX];
	/* context.deadlineExceededError, *net.timeoutError and their like: a call that ends with one timed out. 0 ends the
	 * list. */
	__u64 timeout_types[TIMEOUT_TYPES_MAX];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct process_config) == 256, "process_config crosses the kernel boundary");
