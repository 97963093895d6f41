// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* HTTP/1 as the sockets of traced processes see it: where an exchange may begin it is sampled, and of those that are kept
 * every chunk is told to user space, which knows what the bytes mean. No probe: the kernel passes here anyway. */
#include "bpf/lib/chunk.bpf.h"
#include "bpf/lib/http_head.bpf.h"
#include "bpf/lib/sampling.bpf.h"
#include "bpf/maps/open_requests.bpf.h"
#include "bpf/maps/pending_calls.bpf.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline __u32 spend(__u16 *budget, __u32 length)
{
	__u32 before = *budget;
	*budget = length < before ? before - length : 0;
	return before;
}

static __always_inline bool begins_request(const struct socket_call *call)
{
	__u8 bytes[HEAD_LOOK_BYTES];
	if (!call->address || call->visible < HEAD_LOOK_BYTES)
		return false;
	return !bpf_probe_read_user(bytes, sizeof(bytes), (void *)call->address) && looks_like_request(bytes);
}

/* The held bytes and those of the call behind them; too few to tell are held as well. Go's server reads one byte while a
 * handler runs, to see the peer leave: it may be the first of the next head. And some clients write a head in crumbs. */
static __always_inline bool completes_request(
	struct socket_state *state, const struct traced_process *process, const struct socket_call *call)
{
	__u32 held = state->held_bytes & (HEAD_LOOK_BYTES - 1);
	__u32 more = call->visible < HEAD_LOOK_BYTES ? call->visible : HEAD_LOOK_BYTES;

	if (!held || state->held_offset + held != state->received_bytes) {
		held = 0;
		state->held_ns = process->now_ns;
		state->held_offset = state->received_bytes;
	}
	state->held_bytes = 0;
	if (!call->address || bpf_probe_read_user(state->held + held, more, (void *)call->address))
		return false;
	if (held + more >= HEAD_LOOK_BYTES) {
		state->held_bytes = held;
		return looks_like_request(state->held);
	}
	if (state->held[0] >= 'A' && state->held[0] <= 'Z')
		state->held_bytes = held + more;
	return false;
}

static __always_inline bool is_crumb(const struct socket_call *call, __u32 length)
{
	return call->address && call->visible == length && length < HEAD_LOOK_BYTES;
}

/* Bytes of an exchange that has begun. */
static __always_inline void record_received(
	struct sock *sock, struct socket_state *state, const struct traced_process *process,
	const struct socket_call *call, __u32 length)
{
	struct chunk chunk = {.kind = RECORD_RECEIVED, .length = length};
	chunk.budget = spend(&state->receive_budget, length);
	record_chunk(sock, state, process, call, &chunk, NULL);
	if (state->role == ROLE_CLIENT)
		state->phase = PHASE_ANSWER;
}

/* The stream ended, or a call failed for good. */
static __always_inline void record_end(
	struct sock *sock, const struct socket_state *state, const struct traced_process *process, __u16 kind,
	int error)
{
	if (error == ERROR_INTERRUPTED || error >= ERROR_RESTART)
		return;
	struct socket_call none = {};
	struct chunk chunk = {.kind = kind, .flags = CHUNK_END, .error = error};
	record_chunk(sock, state, process, &none, &chunk, NULL);
}

static __always_inline bool may_begin(const struct socket_state *state)
{
	if (!state)
		return true;
	return state->role != ROLE_CLIENT &&
	       (state->phase == PHASE_NONE || state->phase == PHASE_ANSWER || state->phase == PHASE_SKIPPED_ANSWER);
}

static __always_inline bool keeps_root(struct traced_process *process, __u64 randomness)
{
	if (randomness < process->config->sampling_threshold) {
		count_loss(LOSS_NOT_SAMPLED);
		return false;
	}
	if (take_token(process->config, process->now_ns))
		return true;
	count_loss(LOSS_RATE_LIMITED);
	return false;
}

static __always_inline bool hands_decisions_on(const struct process_config *config)
{
	return config->flags & PROCESS_CLIENT && !keeps_everything(config);
}

/* The goroutine answers this request from now on. */
static __always_inline void open_request(
	struct socket_state *state, const struct traced_process *process, const struct start *start, bool sampled)
{
	if (state->goid && state->goid != start->goroutine.goid)
		forget_request(process->tgid, state->goid);
	state->goid = start->goroutine.goid;
	remember_request(process->tgid, state->goid, start->randomness, sampled);
}

static __always_inline void find_reader(
	struct socket_state *state, const struct traced_process *process, const struct socket_call *call,
	struct goroutine *found)
{
	found->goid = found->parent_goid = 0;
	if (call->g && find_goroutine_again(process->config, call->g, call->stack_pointer, &state->reader)) {
		found->goid = state->reader.goid;
		found->parent_goid = state->reader.parent_goid;
	} else {
		count_loss(LOSS_GOROUTINE_UNKNOWN);
	}
}

static __always_inline void begin_request(
	struct sock *sock, struct socket_state *state, struct traced_process *process, const struct socket_call *call,
	__u32 length, __u32 rejoined, __u64 randomness)
{
	struct start start = {.first_byte_ns = process->now_ns, .randomness = randomness};
	bool sampled = keeps_root(process, start.randomness);
	bool with_calls = hands_decisions_on(process->config);

	state->role = ROLE_SERVER;
	state->held_bytes = 0;
	state->send_budget = EXCHANGE_BYTES_MAX;
	state->phase = PHASE_SKIPPED;
	if (sampled || with_calls)
		find_reader(state, process, call, &start.goroutine);
	if (with_calls)
		open_request(state, process, &start, sampled);
	if (!sampled)
		return;
	struct chunk chunk = {
		.kind = RECORD_RECEIVED,
		.flags = CHUNK_START,
		.length = length,
		.budget = EXCHANGE_BYTES_MAX,
		.rejoined = rejoined,
	};
	if (rejoined) {
		chunk.flags |= CHUNK_REJOINED;
		start.first_byte_ns = state->held_ns;
	}
	state->receive_budget = length < EXCHANGE_BYTES_MAX ? EXCHANGE_BYTES_MAX - length : 0;
	/* What belongs to a head that was lost would say nothing. */
	if (record_chunk(sock, state, process, call, &chunk, &start)) {
		state->phase = PHASE_REQUEST;
		state->told = 1;
	}
}

/* The next chunk on a connection whose request is being answered, in one copy: either more of that exchange, or the next
 * request, and kept either way. The plain case of keep-alive. */
static __always_inline void receive_next(
	struct sock *sock, struct socket_state *state, struct traced_process *process, const struct socket_call *call,
	__u32 length, __u64 randomness)
{
	struct chunk chunk = {.kind = RECORD_RECEIVED, .length = length, .budget = EXCHANGE_BYTES_MAX};
	struct start start = {.first_byte_ns = process->now_ns, .randomness = randomness};
	struct chunk_record *record = make_record(state, process, call, &chunk);

	state->receive_budget = length < EXCHANGE_BYTES_MAX ? EXCHANGE_BYTES_MAX - length : 0;
	if (unlikely(!record)) {
		state->phase = PHASE_SKIPPED; /* what was lost may have been a head */
		return;
	}
	if (likely(record->captured_bytes >= HEAD_LOOK_BYTES && looks_like_request(record->bytes))) {
		find_reader(state, process, call, &start.goroutine);
		if (hands_decisions_on(process->config))
			open_request(state, process, &start, true);
		record->header.flags |= CHUNK_START;
		fill_start(record, sock, &start, process->config);
		state->send_budget = EXCHANGE_BYTES_MAX;
		state->phase = PHASE_REQUEST;
	}
	bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
}

/* Looks before it copies: the connection may speak anything, and the request may not be sampled. */
static __always_inline struct socket_state *receive_and_look(
	struct sock *sock, struct socket_state *state, struct traced_process *process, const struct socket_call *call,
	__u32 length, __u64 randomness)
{
	__u32 rejoined = 0;
	bool begins = false;

	if (process->config->flags & PROCESS_SERVER && may_begin(state)) {
		if (!state && is_crumb(call, length))
			state = make_socket_state(sock, process->tgid);
		if (state && (state->held_bytes || is_crumb(call, length))) {
			begins = completes_request(state, process, call);
			rejoined = state->held_bytes;
		} else {
			begins = begins_request(call);
		}
	} else if (state && length == 1) {
		completes_request(state, process, call);
	}
	if (begins && !state)
		state = make_socket_state(sock, process->tgid);
	if (begins && !state)
		count_loss(LOSS_SOCKET_STORAGE);
	else if (begins)
		begin_request(sock, state, process, call, length, rejoined, randomness);
	else if (state && is_recorded(state))
		record_received(sock, state, process, call, length);
	return state;
}

static __always_inline void receive(struct sock *sock, int result, struct traced_process *process)
{
	struct socket_state *state = find_socket_state(sock);
	struct socket_call call;

	if (unlikely(result <= 0)) {
		if (state && is_recorded(state))
			record_end(sock, state, process, RECORD_RECEIVED, -result);
		return;
	}
	find_socket_call(&call, process->task, result);
	__u64 randomness = draw_randomness(process->now_ns, call.address ^ call.g);
	bool plain = process->config->flags & PROCESS_SERVER && state && state->phase == PHASE_ANSWER &&
	             state->role == ROLE_SERVER && !state->held_bytes && result >= HEAD_LOOK_BYTES &&
	             !process->config->spans_per_second && randomness >= process->config->sampling_threshold;
	if (likely(plain))
		receive_next(sock, state, process, &call, result, randomness);
	else
		state = receive_and_look(sock, state, process, &call, result, randomness);
	if (state)
		state->received_bytes += result;
}

/* In one copy: a head is looked at where it lies already, and given back when it is none. */
static __always_inline bool record_call(
	struct sock *sock, const struct socket_state *state, const struct traced_process *process,
	const struct socket_call *call, const struct pending_call *pending, __u32 length)
{
	struct start start = {
		.first_byte_ns = pending->call_ns,
		.randomness = pending->randomness,
		.goroutine = {.goid = pending->goid, .parent_goid = pending->parent_goid},
	};
	struct chunk chunk = {
		.kind = RECORD_SENT,
		.flags = CHUNK_START | CHUNK_CLIENT | (pending->inherited ? CHUNK_INHERITED : 0),
		.length = length,
		.budget = EXCHANGE_BYTES_MAX,
	};
	struct chunk_record *record = make_record(state, process, call, &chunk);
	if (!record)
		return false;
	if (record->captured_bytes < HEAD_LOOK_BYTES || !looks_like_request(record->bytes)) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	fill_start(record, sock, &start, process->config);
	bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
	return true;
}

/* True when the write begins the call that a goroutine announced for this connection. */
static __always_inline bool begin_call(
	struct sock *sock, struct socket_state *state, struct traced_process *process, const struct socket_call *call,
	__u32 length)
{
	__u64 persist_conn = find_persist_conn(state, process->tgid, call->fd);
	struct pending_call *pending = persist_conn ? find_pending_call(process->tgid, persist_conn) : NULL;
	if (!pending || pending->state == PENDING_NONE)
		return false;
	if (!state)
		state = make_socket_state(sock, process->tgid);
	if (!state) {
		count_loss(LOSS_SOCKET_STORAGE);
		return false;
	}
	/* Before this program ran the peer may have answered and closed: nobody would untie it. */
	if (sock->__sk_common.skc_state == STATE_ESTABLISHED)
		tie_connection(state, pending, persist_conn, process->tgid, call->fd);
	state->role = ROLE_CLIENT;
	state->receive_budget = EXCHANGE_BYTES_MAX;
	state->send_budget = length < EXCHANGE_BYTES_MAX ? EXCHANGE_BYTES_MAX - length : 0;
	state->phase = PHASE_SKIPPED;
	if (pending->state == PENDING_SAMPLED && record_call(sock, state, process, call, pending, length)) {
		state->phase = PHASE_REQUEST;
		state->told = 1;
	}
	pending->state = PENDING_NONE;
	state->sent_bytes += length;
	return true;
}

static __always_inline void record_sent(
	struct sock *sock, struct socket_state *state, const struct traced_process *process,
	const struct socket_call *call, __u32 length)
{
	struct chunk chunk = {.kind = RECORD_SENT, .length = length};
	chunk.budget = spend(&state->send_budget, length);
	record_chunk(sock, state, process, call, &chunk, NULL);
}

static __always_inline void send(struct sock *sock, int result, struct traced_process *process)
{
	struct socket_state *state = find_socket_state(sock);
	struct socket_call call;

	if (unlikely(result <= 0)) {
		if (state && is_recorded(state))
			record_end(sock, state, process, RECORD_SENT, -result);
		return;
	}
	bool may_be_client = process->config->flags & PROCESS_CLIENT && !(state && state->role == ROLE_SERVER);
	if (!may_be_client && !state)
		return;
	find_socket_call(&call, process->task, result);
	if (may_be_client && begin_call(sock, state, process, &call, result))
		return;
	if (!state)
		return;
	if (state->role == ROLE_SERVER && state->phase == PHASE_REQUEST)
		state->phase = PHASE_ANSWER;
	else if (state->role == ROLE_SERVER && state->phase == PHASE_SKIPPED)
		state->phase = PHASE_SKIPPED_ANSWER;
	if (is_recorded(state))
		record_sent(sock, state, process, &call, result);
	state->sent_bytes += result;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sock, int result, int flags)
{
	struct traced_process process;
	if (result == -ERROR_AGAIN || flags & MESSAGE_PEEK || !find_current_process(&process))
		return 0;
	struct program_use *use = count_hit(PROGRAM_RECEIVED);
	receive(sock, result, &process);
	count_time(use, process.now_ns);
	return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sock, int result, int flags)
{
	struct traced_process process;
	if (result == -ERROR_AGAIN || !find_current_process(&process))
		return 0;
	struct program_use *use = count_hit(PROGRAM_SENT);
	send(sock, result, &process);
	count_time(use, process.now_ns);
	return 0;
}

static __always_inline void record_socket_state(
	struct sock *sock, const struct socket_state *state, int old_state, int new_state, __u64 now_ns)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct socket_state_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL);
		return;
	}
	record->header.time_ns = now_ns;
	record->header.socket_id = state->socket_id;
	record->header.tgid = state->tgid;
	record->header.kind = RECORD_SOCKET_STATE;
	record->header.flags = task->flags & TASK_EXITING ? SOCKET_PROCESS_EXITING : 0;
	record->old_state = old_state;
	record->new_state = new_state;
	record->reserved = 0;
	record->error = sock->sk_err;
	record->received_bytes = state->received_bytes;
	record->sent_bytes = state->sent_bytes;
	bpf_ringbuf_submit(record, wakeup_flags(now_ns));
}

/* May run for a packet, in any task: the process is the one that used the socket last. */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_socket_state, struct sock *sock, int old_state, int new_state)
{
	if (new_state != STATE_FIN_WAIT1 && new_state != STATE_CLOSE_WAIT && new_state != STATE_CLOSE)
		return 0;
	struct socket_state *state = find_socket_state(sock);
	if (!state)
		return 0;
	__u32 tgid = state->tgid;
	struct process_config *config = bpf_map_lookup_elem(&process_config, &tgid);
	__u64 now_ns = bpf_ktime_get_boot_ns();
	if (config && now_ns < config->deadline_ns) {
		struct program_use *use = count_hit(PROGRAM_SOCKET_STATE);
		if (state->told)
			record_socket_state(sock, state, old_state, new_state, now_ns);
		count_time(use, now_ns);
	}
	untie_connection(state);
	if (new_state == STATE_CLOSE)
		forget_request(tgid, state->goid);
	return 0;
}
