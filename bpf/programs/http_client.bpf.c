// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* Which goroutine makes a call of net/http's client, and on which connection: the write that follows on the connection comes
 * from another goroutine. The maps are those of http_socket. */
#include "bpf/lib/goroutine.bpf.h"
#include "bpf/lib/client_call.bpf.h"
#include "bpf/lib/site.bpf.h"

char LICENSE[] SEC("license") = "GPL";

/* The file descriptor of persistConn.conn, -1 when it is not a *net.TCPConn. */
static __always_inline int find_connection(const struct process_config *config, __u64 persist_conn)
{
	struct go_interface conn;
	__u64 net_fd = 0;
	int fd = -1;
	if (bpf_probe_read_user(&conn, sizeof(conn), (void *)(persist_conn + config->client.persist_conn_conn)))
		return -1;
	if (type_of(&conn) != config->client.tcp_conn_type)
		return -1;
	if (bpf_probe_read_user(&net_fd, sizeof(net_fd), (void *)(conn.data + config->client.tcp_conn_fd)) ||
	    bpf_probe_read_user(&fd, sizeof(fd), (void *)(net_fd + config->client.net_fd_sysfd)))
		return -1;
	return fd;
}

/* The first call of a connection: the write that follows finds it by file descriptor. */
static __always_inline bool announce_connection(const struct traced_process *process, __u64 persist_conn)
{
	struct descriptor_key key = {.tgid = process->tgid};
	key.fd = find_connection(process->config, persist_conn);
	if (key.fd < 0) {
		count_loss(LOSS_CALL_NOT_PLAIN_TCP);
		return false;
	}
	if (!bpf_map_update_elem(&untied_connections, &key, &persist_conn, BPF_ANY))
		return true;
	count_loss(LOSS_TABLE_FULL);
	return false;
}

static __always_inline void announce_call(struct traced_process *process, struct pt_regs *regs)
{
	__u64 persist_conn = regs->ax;
	struct pending_call call = {.call_ns = process->now_ns};
	struct goroutine goroutine;
	struct pending_call *known = find_pending_call(process->tgid, persist_conn);

	if (known && known->tied)
		call.tied = 1;
	else if (!announce_connection(process, persist_conn))
		return;
	if (!find_goroutine_of_function(process->config, regs->r14, regs->sp, &goroutine))
		count_loss(LOSS_GOROUTINE_UNKNOWN);
	call.goid = goroutine.goid;
	call.parent_goid = goroutine.parent_goid;
	inherit_or_sample(process, &call);
	if (known) {
		*known = call;
		return;
	}
	struct persist_conn_key key = {.address = persist_conn, .tgid = process->tgid};
	if (bpf_map_update_elem(&pending_calls, &key, &call, BPF_ANY))
		count_loss(LOSS_TABLE_FULL);
}

/* net/http.(*persistConn).roundTrip(AX = pc, BX = *transportRequest) */
SEC("uprobe")
int on_round_trip(struct pt_regs *regs)
{
	struct traced_process process;
	if (is_stack_growing(regs) || !find_current_process(&process) || !(process.config->flags & PROCESS_CLIENT))
		return 0;
	preempt_guard_enter();
	struct program_use *use = count_hit(PROGRAM_CLIENT_CALL);
	announce_call(&process, regs);
	count_time(use, process.now_ns);
	preempt_guard_leave();
	return 0;
}

/* The reason why the connection was given up, else the error of the call. */
static __always_inline struct go_interface find_error(const struct process_config *config, struct pt_regs *regs)
{
	struct go_interface error = {.table = regs->di, .data = regs->si};
	struct go_interface canceled = {};
	if (config->client.persist_conn_canceled_err &&
	    !bpf_probe_read_user(
		    &canceled, sizeof(canceled), (void *)(regs->ax + config->client.persist_conn_canceled_err)) &&
	    canceled.table)
		return canceled;
	return error;
}

static __always_inline void record_call_error(struct traced_process *process, struct pt_regs *regs)
{
	struct goroutine goroutine;
	struct call_error_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL);
		return;
	}
	find_goroutine_of_function(process->config, regs->r14, regs->sp, &goroutine);
	struct go_interface error = find_error(process->config, regs);
	fill_header(&record->header, process, RECORD_CALL_ERROR);
	record->goid = goroutine.goid;
	record->fd = find_connection(process->config, regs->ax);
	record->error_type = type_of(&error);
	record->timed_out = is_timeout_type(process->config, record->error_type);
	__builtin_memset(record->reserved, 0, sizeof(record->reserved));
	record->header.flags = read_error_message(process->config, &error, record->error_type, &record->message);
	if (record->header.flags & TYPE_NOT_RESIDENT)
		leave_unread(process->config, &error, &record->unread);
	bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
}

/* net/http.(*persistConn).mapRoundTripError(AX = pc, BX = *transportRequest, CX = startBytesWritten, DI, SI = err):
 * where every call ends that had a connection and got no answer. */
SEC("uprobe")
int on_round_trip_error(struct pt_regs *regs)
{
	struct traced_process process;
	if (is_stack_growing(regs) || !find_current_process(&process) || !(process.config->flags & PROCESS_CLIENT))
		return 0;
	preempt_guard_enter();
	struct program_use *use = count_hit(PROGRAM_CLIENT_ERROR);
	record_call_error(&process, regs);
	count_time(use, process.now_ns);
	preempt_guard_leave();
	return 0;
}
