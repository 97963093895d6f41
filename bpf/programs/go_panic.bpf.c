// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/* A goroutine panics: a handler that does so sends nothing, and only this tells why. The maps are those of http_socket. */
#include "bpf/lib/goroutine.bpf.h"
#include "bpf/lib/site.bpf.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline void record_panic(struct traced_process *process, struct pt_regs *regs)
{
	struct known_goroutine goroutine;
	struct panic_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	if (!record) {
		count_loss(LOSS_RING_FULL);
		return;
	}
	if (!find_goroutine(process->config, regs->r14, regs->sp, &goroutine))
		count_loss(LOSS_GOROUTINE_UNKNOWN);
	fill_header(&record->header, process, RECORD_PANIC);
	record->goid = goroutine.goid;
	record->value_type = regs->ax;
	record->header.flags = read_message(process->config, regs->ax, regs->bx, &record->message);
	bpf_ringbuf_submit(record, wakeup_flags(process->now_ns));
}

/* runtime.gopanic(AX = type, BX = data of the value) */
SEC("uprobe")
int on_panic(struct pt_regs *regs)
{
	struct traced_process process;
	if (is_stack_growing(regs) || !find_current_process(&process))
		return 0;
	preempt_guard_enter();
	struct program_use *use = count_hit(PROGRAM_PANIC);
	record_panic(&process, regs);
	count_time(use, process.now_ns);
	preempt_guard_leave();
	return 0;
}
