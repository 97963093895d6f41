// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* A call of net/http's client that fails before it has a connection: no socket tells of it. Nothing here runs for a call
 * that takes an idle connection, and one that dials with success costs one hit. The maps are those of http_socket. */
#include "bpf/lib/goroutine.bpf.h"
#include "bpf/lib/client_call.bpf.h"
#include "bpf/lib/site.bpf.h"
#include "bpf/maps/waiting_dials.bpf.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline struct dial_key key_of(const struct traced_process *process, const struct pt_regs *regs)
{
	struct dial_key key = {.g = regs->r14, .tgid = process->tgid};
	return key;
}

/* net/http.(*Transport).queueForDial(AX = t, BX = *wantConn), on the goroutine that calls */
SEC("uprobe")
int on_dial(struct pt_regs *regs)
{
	struct traced_process process;
	if (is_stack_growing(regs) || !find_current_process(&process) || !(process.config->flags & PROCESS_CLIENT))
		return 0;
	preempt_guard_enter();
	struct program_use *use = count_hit(PROGRAM_DIAL);
	struct dial_key key = key_of(&process, regs);
	struct waiting_dial dial = {.call_ns = process.now_ns, .want_conn = regs->bx};
	if (bpf_map_update_elem(&waiting_dials, &key, &dial, BPF_ANY))
		count_loss(LOSS_TABLE_FULL);
	count_time(use, process.now_ns);
	preempt_guard_leave();
	return 0;
}

/* When the call of this goroutine began to wait for this connection; 0: it did not, or nobody looked then. */
static __always_inline __u64 take_call_time(const struct traced_process *process, const struct pt_regs *regs)
{
	struct dial_key key = key_of(process, regs);
	struct waiting_dial *dial = bpf_map_lookup_elem(&waiting_dials, &key);
	if (!dial || dial->want_conn != regs->ax)
		return 0;
	__u64 call_ns = dial->call_ns;
	bpf_map_delete_elem(&waiting_dials, &key);
	return call_ns;
}

/* The arguments of Transport.roundTrip, in the room that its caller left for them: the planner has seen it store them. It
 * called getConn, which called its deferred function, which calls cancel; frame pointers lead back. */
static __always_inline __u64 find_request_of_call(const struct pt_regs *regs)
{
	__u64 get_conn = 0, round_trip = 0;
	struct {
		__u64 saved_frame, return_address, transport, request;
	} frame = {};
	if (bpf_probe_read_user(&get_conn, sizeof(get_conn), (void *)regs->bp) ||
	    bpf_probe_read_user(&round_trip, sizeof(round_trip), (void *)get_conn) ||
	    bpf_probe_read_user(&frame, sizeof(frame), (void *)round_trip))
		return 0;
	return frame.transport == regs->bx ? frame.request : 0;
}

static __always_inline __u16 read_text(char *text, __u32 bytes_max, __u64 header_at)
{
	struct go_string string = {};
	if (bpf_probe_read_user(&string, sizeof(string), (void *)header_at) || !string.length)
		return 0;
	__u32 size = string.length < bytes_max ? string.length : bytes_max;
	return bpf_probe_read_user(text, size, (void *)string.address) ? 0 : size;
}

static __always_inline bool read_request(
	const struct go_http_dial_layout *layout, __u64 request, __u64 url, struct dial_error_record *record)
{
	record->method_bytes = read_text(record->method, sizeof(record->method), request + layout->request_method);
	record->host_bytes = read_text(record->host, sizeof(record->host), url + layout->url_host);
	record->query_bytes = read_text(record->query, sizeof(record->query), url + layout->url_raw_query);
	record->path_bytes = read_text(record->path, sizeof(record->path), url + layout->url_raw_path);
	record->path_is_escaped = record->path_bytes != 0;
	if (!record->path_is_escaped)
		record->path_bytes = read_text(record->path, sizeof(record->path), url + layout->url_path);
	return record->host_bytes != 0;
}

/* cancel(AX = w, BX = t, CX, DI = err) until Go 1.24. Later it is not told the error; the deferred function has just looked
 * at it, and where it lies, in a frame of this stack, still stands in CX. An itab never lies there. */
static __always_inline struct go_interface find_dial_error(
	const struct process_config *config, const struct pt_regs *regs)
{
	struct go_interface error = {.table = regs->cx, .data = regs->di};
	__u64 stack_hi = 0;
	bpf_probe_read_user(&stack_hi, sizeof(stack_hi), (void *)(regs->r14 + config->go.g_stack_hi));
	if (regs->cx > regs->sp && regs->cx < stack_hi && bpf_probe_read_user(&error, sizeof(error), (void *)regs->cx))
		error.table = 0;
	return error;
}

/* The error inside: of a proxy's connection, of the dial, of the system call. */
static __always_inline struct go_interface unwrap(const struct go_http_dial_layout *layout, struct go_interface error)
{
	for (int i = 0; i < WRAPPED_ERRORS_MAX; i++) {
		__u64 type = type_of(&error), inner = 0;
		if (type && type == layout->op_error_type)
			inner = error.data + layout->op_error_err;
		else if (type && type == layout->syscall_error_type)
			inner = error.data + layout->syscall_error_err;
		if (!inner || bpf_probe_read_user(&error, sizeof(error), (void *)inner))
			break;
	}
	return error;
}

static __always_inline void read_cause(
	const struct process_config *config, struct go_interface error, struct dial_error_record *record)
{
	const struct go_http_dial_layout *layout = &config->dial;
	const __u64 type = type_of(&error);
	__u64 number = 0;
	__u8 timed_out = 0;

	record->error = 0;
	record->cause = DIAL_OTHER;
	if (type && type == layout->dns_error_type) {
		bpf_probe_read_user(&timed_out, 1, (void *)(error.data + layout->dns_error_is_timeout));
		record->cause = timed_out ? DIAL_TIMEOUT : DIAL_NAME;
		record->header.flags = read_message_at(error.data + layout->dns_error_err, &record->message);
		return;
	}
	record->header.flags = read_error_message(config, &error, type, &record->message);
	if (record->header.flags & TYPE_NOT_RESIDENT) {
		leave_unread(config, &error, &record->unread);
		record->unread.dial = *layout;
	}
	if (type && type == layout->errno_type && !bpf_probe_read_user(&number, sizeof(number), (void *)error.data)) {
		record->cause = DIAL_ERRNO;
		record->error = number;
	} else if (is_timeout_type(config, type)) {
		record->cause = DIAL_TIMEOUT;
	}
}

static __always_inline void record_dial_error(
	struct traced_process *process, struct pt_regs *regs, const struct pending_call *call, __u64 request, __u64 url)
{
	struct dial_error_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL);
		return;
	}
	fill_header(&record->header, process, RECORD_DIAL_ERROR);
	record->call_ns = call->call_ns;
	record->goid = call->goid;
	record->parent_goid = call->parent_goid;
	record->randomness = call->randomness;
	record->threshold = process->config->sampling_threshold;
	record->reserved = 0;
	read_cause(process->config, unwrap(&process->config->dial, find_dial_error(process->config, regs)), record);
	if (read_request(&process->config->dial, request, url, record)) {
		bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
	} else {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		count_loss(LOSS_BYTES_UNREADABLE);
	}
}

/* What is no plain call is not followed before it has a connection either. */
static __always_inline bool is_plain(const struct go_http_dial_layout *layout, __u64 url)
{
	struct go_string scheme = {}, opaque = {};
	bpf_probe_read_user(&scheme, sizeof(scheme), (void *)(url + layout->url_scheme));
	bpf_probe_read_user(&opaque, sizeof(opaque), (void *)(url + layout->url_opaque));
	return scheme.length == sizeof("http") - 1 && !opaque.length;
}

static __always_inline void tell_dial_error(struct traced_process *process, struct pt_regs *regs)
{
	const struct go_http_dial_layout *layout = &process->config->dial;
	struct pending_call call = {.call_ns = take_call_time(process, regs)};
	struct goroutine goroutine;
	__u64 url = 0;

	if (!call.call_ns)
		return;
	const __u64 request = find_request_of_call(regs);
	if (!request || bpf_probe_read_user(&url, sizeof(url), (void *)(request + layout->request_url)) || !url) {
		count_loss(LOSS_BYTES_UNREADABLE);
		return;
	}
	if (!is_plain(layout, url)) {
		count_loss(LOSS_CALL_NOT_PLAIN_TCP);
		return;
	}
	if (!find_goroutine_of_function(process->config, regs->r14, regs->sp, &goroutine))
		count_loss(LOSS_GOROUTINE_UNKNOWN);
	call.goid = goroutine.goid;
	call.parent_goid = goroutine.parent_goid;
	inherit_or_sample(process, &call);
	if (call.state == PENDING_SAMPLED)
		record_dial_error(process, regs, &call, request, url);
}

/* net/http.(*wantConn).cancel(AX = w, BX = t): once for every call that fails without a connection, and for no other */
SEC("uprobe")
int on_dial_error(struct pt_regs *regs)
{
	struct traced_process process;
	if (is_stack_growing(regs) || !find_current_process(&process) || !(process.config->flags & PROCESS_CLIENT))
		return 0;
	preempt_guard_enter();
	struct program_use *use = count_hit(PROGRAM_DIAL_ERROR);
	tell_dial_error(&process, regs);
	count_time(use, process.now_ns);
	preempt_guard_leave();
	return 0;
}
