/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What the programs tell user space: records in the ring `records`, each a record_header and the body of its kind.
 *
 * The ring keeps the order in which records were reserved, which is the causal order. A record that found the ring full is
 * lost and counted (counters.h); the stream offsets of the socket's next record show the gap. Sizes in the ring are
 * rounded up to a few size classes: only `captured_bytes + tail_bytes` of a chunk's bytes mean anything, the rest is
 * what lay there before. */
#pragma once

#include "bpf/include/config.h"
#include "bpf/include/limits.h"
#include "bpf/include/types.h"

enum record_kind {
	RECORD_RECEIVED = 1,     /* chunk_record: the process read bytes from a socket */
	RECORD_SENT = 2,         /* chunk_record: the process wrote bytes to a socket */
	RECORD_SOCKET_STATE = 3, /* socket_state_record: the connection is being closed, and by whom */
	RECORD_PANIC = 4,        /* panic_record: runtime.gopanic was called */
	RECORD_CALL_ERROR = 5,   /* call_error_record: a client call failed after it had a connection */
	RECORD_DIAL_ERROR = 6,   /* dial_error_record: a client call failed before it had one */
};

struct record_header {
	__u64 time_ns;   /* CLOCK_BOOTTIME */
	__u64 socket_id; /* the kernel's socket cookie, never reused; 0 for records without a socket */
	__u32 tgid;
	__u16 kind;  /* enum record_kind */
	__u16 flags; /* of the kind: enum chunk_flags, socket_state_flags, message_flags */
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct record_header) == 24, "record_header crosses the kernel boundary");

enum chunk_flags {
	/* The first bytes look like a request head where one may begin; `start` of the record is filled in. The kernel may
	 * be wrong (a body that looks like a head), user space knows lengths and decides. */
	CHUNK_START = 1 << 0,
	/* With CHUNK_START: the process is the client of this request. */
	CHUNK_CLIENT = 1 << 1,
	/* With CHUNK_CLIENT: randomness is that of the server request open on the goroutine (or on the one that started
	 * it); without, this call is a local root. */
	CHUNK_INHERITED = 1 << 2,
	/* The bytes were not where the kernel could see them (sendfile, io_uring, an unreadable page): counted only. */
	CHUNK_UNSEEN = 1 << 3,
	/* The read or write failed or ended the stream: `length` is 0, `error` is errno or 0 at the end of the stream. */
	CHUNK_END = 1 << 4,
	/* With CHUNK_START: its first bytes had been read before, alone (Go's background read reads one). They stand here
	 * again, and count in `length`. */
	CHUNK_REJOINED = 1 << 5,
};

/* One end of a connection; ports in host order, addresses in network order. */
struct socket_address {
	__u8 family_bytes; /* of address: 4, 16, or 0 when there is none (a Unix socket) */
	__u8 reserved;
	__u16 port;
	__u8 address[16];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct socket_address) == 20, "socket_address crosses the kernel boundary");

/* What is known when an exchange begins. */
struct exchange_start {
	__u64 first_byte_ns; /* server: when the first byte had been read; client: when the call began. CLOCK_BOOTTIME */
	__u64 goid;          /* 0: the register did not prove to be a goroutine's */
	__u64 parent_goid;   /* 0: unknown */
	__u64 randomness;    /* 56 bits */
	__u64 threshold;     /* 56 bits, as it was when the decision fell */
	__u32 receive_position; /* TCP stream positions of the first byte: copied_seq and write_seq, which the other */
	__u32 send_position;    /* end knows too (the hop key). Valid when hop_key is 1 */
	struct socket_address local;
	struct socket_address peer;
	__u8 hop_key; /* 0 for what is not plain TCP: MPTCP, Unix */
	__u8 reserved[7];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct exchange_start) == 96, "exchange_start crosses the kernel boundary");

struct chunk_record {
	struct record_header header;
	__u64 stream_offset;  /* of the first byte, counted per direction since this socket was first seen */
	__u64 other_offset;   /* bytes that had gone the other way by then, lost and unsampled ones included */
	__u32 length;         /* bytes that the call moved */
	__u16 captured_bytes; /* of `bytes`, from the chunk's beginning */
	__u16 tail_bytes;     /* of `bytes`, behind those: the last ones of the chunk, when it was not captured whole */
	__s32 error;
	__u32 reserved;
	struct exchange_start start; /* with CHUNK_START, else undefined */

	/* The bytes follow: up to EXCHANGE_BYTES_MAX and the tail. */
#ifdef __bpf__
	__u8 bytes[];
#endif
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct chunk_record) == 152, "chunk_record crosses the kernel boundary");

enum socket_state_flags {
	SOCKET_PROCESS_EXITING = 1 << 0, /* the process that is closing it is being ended */
};

/* enum values are the kernel's TCP_* states (include/net/tcp_states.h). */
struct socket_state_record {
	struct record_header header;
	__u8 old_state;
	__u8 new_state;
	__u16 reserved;
	__s32 error;          /* sk_err: ECONNRESET, ETIMEDOUT, EPIPE, … or 0 */
	__u64 received_bytes; /* stream offsets at this moment */
	__u64 sent_bytes;
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct socket_state_record) == 48, "it crosses the kernel boundary");

/* Of panic_record, call_error_record and dial_error_record. The kernel reads only what is in memory, and constants that the
 * process has not touched yet are not; user space reads them later. */
enum message_flags {
	/* The message is missing: its Go string header lies at `message_at` in the process. */
	MESSAGE_NOT_RESIDENT = 1 << 0,
	/* The value's type could not be told, or whether its values are strings: nothing that follows from it is known. Of a
	 * panic, `value_type` is the type and `message_at` the value; of an error, `unread` is filled in. */
	TYPE_NOT_RESIDENT = 1 << 1,
};

struct message {
	__u64 message_at;
	__u32 bytes;  /* of text; 0 when the value is not a string or a known error, or not resident */
	__u32 length; /* of the whole message */
	char text[MESSAGE_BYTES_MAX];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct message) == 144, "message crosses the kernel boundary");

/* An error of which something could not be read, and what its types mean in this process: as in its process_config. */
struct unread_error {
	__u64 itab; /* of the interface value that holds it */
	__u64 data;
	struct go_http_dial_layout dial; /* all zero when what the error wraps says nothing */
	__u64 message_types[MESSAGE_TYPES_MAX];
	__u64 timeout_types[TIMEOUT_TYPES_MAX];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct unread_error) == 200, "unread_error crosses the kernel boundary");

struct panic_record {
	struct record_header header; /* socket_id is 0 */
	__u64 goid;                  /* 0: unknown */
	__u64 value_type;            /* address of the type descriptor of the value, 0 for nil */
	struct message message;
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct panic_record) == 184, "panic_record crosses the kernel boundary");

struct call_error_record {
	struct record_header header; /* socket_id is 0 */
	__u64 goid;
	__s32 fd;       /* of the call's connection; -1: unknown */
	__u8 timed_out; /* the error's type is one of process_config.timeout_types */
	__u8 reserved[3];
	__u64 error_type; /* address of the type descriptor, 0: unknown */
	struct message message;
	struct unread_error unread; /* with TYPE_NOT_RESIDENT, else undefined */
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct call_error_record) == 392, "it crosses the kernel boundary");

enum dial_cause {
	DIAL_OTHER = 0,   /* `message` when it is known */
	DIAL_ERRNO = 1,   /* a system call failed with `error`: ECONNREFUSED, ENETUNREACH, … */
	DIAL_NAME = 2,    /* the host's name did not resolve; `message` says why */
	DIAL_TIMEOUT = 3, /* a deadline passed: the call's, the dialer's, or that of the name server */
};

/* The call as net/http.Request has it; texts are cut at their maximum. */
struct dial_error_record {
	struct record_header header; /* socket_id is 0 */
	__u64 call_ns;               /* when the call went for a connection. CLOCK_BOOTTIME */
	__u64 goid;                  /* 0: unknown */
	__u64 parent_goid;           /* 0: unknown */
	__u64 randomness;            /* 56 bits */
	__u64 threshold;             /* 56 bits */
	__s32 error;                 /* errno, with DIAL_ERRNO */
	__u8 cause;                  /* enum dial_cause */
	__u8 path_is_escaped;        /* URL.RawPath, else URL.Path */
	__u16 method_bytes;          /* 0 stands for GET */
	__u16 host_bytes;            /* of URL.Host, with the port when it names one */
	__u16 path_bytes;
	__u16 query_bytes; /* of URL.RawQuery */
	__u16 reserved;
	struct message message;
	struct unread_error unread; /* with TYPE_NOT_RESIDENT, else undefined */
	char method[DIAL_METHOD_BYTES_MAX];
	char host[DIAL_HOST_BYTES_MAX];
	char path[DIAL_PATH_BYTES_MAX];
	char query[DIAL_QUERY_BYTES_MAX];
};
KERNEL_BOUNDARY_ASSERT(sizeof(struct dial_error_record) == 2760, "it crosses the kernel boundary");
