/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Records of the bytes that went over a socket. */
#pragma once

#include "bpf/lib/goroutine.bpf.h"
#include "bpf/lib/socket_call.bpf.h"
#include "bpf/maps/process_config.bpf.h"
#include "bpf/maps/records.bpf.h"
#include "bpf/maps/socket_states.bpf.h"

/* What one call moved. */
struct chunk {
	__u16 kind;  /* RECORD_RECEIVED, RECORD_SENT */
	__u16 flags; /* enum chunk_flags */
	__u32 length;
	__u32 budget; /* bytes that may be copied whole */
	__s32 error;
	__u32 rejoined; /* held bytes that go before the bytes of the call */
};

/* What begins with it, when an exchange does. */
struct start {
	__u64 first_byte_ns;
	__u64 randomness;
	struct goroutine goroutine;
};

static __always_inline void fill_addresses(struct exchange_start *start, struct sock *sock)
{
	start->local.port = sock->__sk_common.skc_num;
	start->peer.port = bpf_ntohs(sock->__sk_common.skc_dport);
	if (likely(sock->__sk_common.skc_family == FAMILY_INET)) {
		start->local.family_bytes = start->peer.family_bytes = 4;
		*(__be32 *)start->local.address = sock->__sk_common.skc_rcv_saddr;
		*(__be32 *)start->peer.address = sock->__sk_common.skc_daddr;
	} else if (sock->__sk_common.skc_family == FAMILY_INET6) {
		start->local.family_bytes = start->peer.family_bytes = 16;
		for (int i = 0; i < 4; i++) {
			((__be32 *)start->local.address)[i] = sock->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
			((__be32 *)start->peer.address)[i] = sock->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
		}
	} else {
		start->local.family_bytes = start->peer.family_bytes = 0;
	}
}

/* Where the exchange begins in the two TCP streams. By now the call has moved the bytes of the chunk. */
static __always_inline void fill_hop_key(
	struct exchange_start *start, struct sock *sock, const struct process_config *config, __u16 kind, __u32 length)
{
	struct tcp_sock *tcp = config->flags & PROCESS_HOP_KEY ? bpf_skc_to_tcp_sock(sock) : NULL;
	start->hop_key = tcp != NULL;
	if (!tcp)
		return;
	start->receive_position = tcp->copied_seq - (kind == RECORD_RECEIVED ? length : 0);
	start->send_position = tcp->write_seq - (kind == RECORD_SENT ? length : 0);
}

static __always_inline void fill_start(
	struct chunk_record *record, struct sock *sock, const struct start *start, const struct process_config *config)
{
	record->start.first_byte_ns = start->first_byte_ns;
	record->start.goid = start->goroutine.goid;
	record->start.parent_goid = start->goroutine.parent_goid;
	record->start.randomness = start->randomness;
	record->start.threshold = config->sampling_threshold;
	fill_addresses(&record->start, sock);
	fill_hop_key(&record->start, sock, config, record->header.kind, record->length);
}

/* Copies what may be copied of the call's bytes; false when they were not there. */
static __always_inline bool copy_bytes(
	struct chunk_record *record, const struct socket_call *call, __u32 captured, __u32 tail, __u32 rejoined)
{
	if (unlikely(!call->address))
		return false;
	if (captured && bpf_probe_read_user(record->bytes + rejoined, captured, (void *)call->address))
		return false;
	if (likely(!tail))
		return true;
	return !bpf_probe_read_user(
		record->bytes + rejoined + captured, tail, (void *)(call->address + call->visible - tail));
}

/* A record with its bytes, NULL when the ring was full. The state's offsets are moved on by the caller after the record
 * was submitted: who sees them moved may trust that it lies in the ring. */
static __always_inline struct chunk_record *make_record(
	const struct socket_state *state, const struct traced_process *process, const struct socket_call *call,
	const struct chunk *chunk)
{
	__u32 rejoined = chunk->rejoined & (HEAD_LOOK_BYTES - 1);
	__u32 captured = chunk->budget;
	if (captured < CHUNK_EDGE_BYTES)
		captured = CHUNK_EDGE_BYTES;
	if (chunk->length <= SMALL_CHUNK_BYTES)
		captured = SMALL_CHUNK_BYTES;
	if (captured > call->visible)
		captured = call->visible;
	if (captured > EXCHANGE_BYTES_MAX)
		captured = EXCHANGE_BYTES_MAX;
	__u32 tail = call->visible - captured;
	if (tail > CHUNK_EDGE_BYTES)
		tail = CHUNK_EDGE_BYTES;
	if (unlikely(call->visible != chunk->length))
		tail = 0;

	struct chunk_record *record = reserve_chunk(captured);
	if (unlikely(!record)) {
		count_loss(LOSS_RING_FULL);
		return NULL;
	}
	__u16 flags = chunk->flags;
	if (unlikely(!copy_bytes(record, call, captured, tail, rejoined))) {
		if (call->address)
			count_loss(LOSS_BYTES_UNREADABLE);
		captured = tail = 0;
		flags |= CHUNK_UNSEEN;
	} else if (unlikely(rejoined)) {
		for (__u32 i = 0; i < HEAD_LOOK_BYTES; i++)
			if (i < rejoined)
				record->bytes[i] = state->held[i];
	}
	record->header.time_ns = process->now_ns;
	record->header.socket_id = state->socket_id;
	record->header.tgid = process->tgid;
	record->header.kind = chunk->kind;
	record->header.flags = flags;
	record->stream_offset = (chunk->kind == RECORD_RECEIVED ? state->received_bytes : state->sent_bytes) - rejoined;
	record->other_offset = chunk->kind == RECORD_RECEIVED ? state->sent_bytes : state->received_bytes;
	record->length = chunk->length + rejoined;
	record->captured_bytes = captured ? captured + rejoined : 0;
	record->tail_bytes = tail;
	record->error = chunk->error;
	return record;
}

/* Emits a record; false when the ring was full. */
static __always_inline bool record_chunk(
	struct sock *sock, const struct socket_state *state, const struct traced_process *process,
	const struct socket_call *call, const struct chunk *chunk, const struct start *start)
{
	struct chunk_record *record = make_record(state, process, call, chunk);
	if (!record)
		return false;
	if (start)
		fill_start(record, sock, start, process->config);
	bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
	return true;
}
