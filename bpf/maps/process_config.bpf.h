/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The processes that are traced, by tgid. User space writes, the programs read (and own next_span_ns). */
#pragma once

#include "bpf/include/config.h"
#include "bpf/lib/kernel.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, TRACED_PROCESSES_MAX);
	__type(key, __u32);
	__type(value, struct process_config);
} process_config SEC(".maps");

enum {
	START_TIME_WINDOW_NS = 10000000, /* a tick of /proc/<pid>/stat */
};

/* The current process and its row; both unset when it is not traced, or not any more. */
struct traced_process {
	struct task_struct *task;
	struct process_config *config;
	__u32 tgid;
	__u64 now_ns;
};

static __always_inline bool is_same_process(const struct process_config *config, const struct task_struct *task)
{
	if (!config->start_time_min_ns)
		return true;
	return task->group_leader->start_boottime - config->start_time_min_ns < START_TIME_WINDOW_NS;
}

static __always_inline bool find_current_process(struct traced_process *process)
{
	process->task = bpf_get_current_task_btf();
	process->tgid = process->task->tgid;
	process->config = bpf_map_lookup_elem(&process_config, &process->tgid);
	if (!process->config)
		return false;
	process->now_ns = bpf_ktime_get_boot_ns();
	return process->now_ns < process->config->deadline_ns && is_same_process(process->config, process->task);
}
