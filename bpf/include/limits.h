/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Every limit of the kernel side, by name. */
#pragma once

enum {
	/* Processes with a row in process_config at the same time. */
	TRACED_PROCESSES_MAX = 1024,
	/* Goroutines with an open server request, for children that inherit its sampling. */
	OPEN_REQUESTS_MAX = 16384,
	/* Connections on which a goroutine has announced a client call, */
	PENDING_CALLS_MAX = 8192,
	/* and those of them on which it was the first and is not written yet. */
	UNTIED_CONNECTIONS_MAX = 1024,
	/* Goroutines that wait for a connection to be dialled. */
	WAITING_DIALS_MAX = 4096,
	/* The ring of records; a power of two of pages. */
	RECORD_RING_BYTES = 4 * 1024 * 1024,
	/* The reader polls by a timer; it is woken early when the ring holds this much. */
	RECORD_RING_WAKEUP_BYTES = RECORD_RING_BYTES / 4,
	/* So many bytes of each direction of an exchange are copied whole: its head, and a body that fits. */
	EXCHANGE_BYTES_MAX = 8192,
	/* A chunk no longer than this is always copied whole. */
	SMALL_CHUNK_BYTES = 512,
	/* Beyond that the first and the last bytes of each chunk: chunk ends and pipelined heads show there. */
	CHUNK_EDGE_BYTES = 64,
	/* Segments of a vectored read or write whose bytes are looked at. */
	IO_SEGMENTS_MAX = 4,
	/* The message of a panic or of a failed call. */
	MESSAGE_BYTES_MAX = 128,
	/* Go types whose value begins with a string: the message of a panic can be read out of them. */
	MESSAGE_TYPES_MAX = 8,
	/* Go types of errors that say a deadline passed. */
	TIMEOUT_TYPES_MAX = 8,
	/* Errors around the one that says why there is no connection: proxyconnect, dial, the system call. */
	WRAPPED_ERRORS_MAX = 4,
	/* What is kept of a request that got no connection. */
	DIAL_METHOD_BYTES_MAX = 32,
	DIAL_HOST_BYTES_MAX = 256,
	DIAL_PATH_BYTES_MAX = 1024,
	DIAL_QUERY_BYTES_MAX = 1024,
	/* A program's own time is measured on every so many hits. */
	PROGRAM_TIME_EVERY_HITS = 64,
	/* The bytes of runtime.g that are read at once: every offset in process_config.go lies below it. */
	GO_G_BYTES_MAX = 320,
};
