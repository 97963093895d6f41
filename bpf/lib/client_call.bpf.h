/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What a client call inherits from the request in which it is made. */
#pragma once

#include "bpf/lib/sampling.bpf.h"
#include "bpf/maps/open_requests.bpf.h"
#include "bpf/maps/pending_calls.bpf.h"
#include "bpf/maps/process_config.bpf.h"

/* A call belongs to the request of its goroutine, or of the one that started it, and is kept when that is. */
static __always_inline void inherit_or_sample(struct traced_process *process, struct pending_call *call)
{
	struct open_request *request = NULL;
	bool sampled;

	if (!keeps_everything(process->config)) {
		request = find_request(process->tgid, call->goid);
		if (!request && process->config->flags & PROCESS_LINEAGE)
			request = find_request(process->tgid, call->parent_goid);
	}
	if (request) {
		call->inherited = 1;
		call->randomness = request->randomness;
		sampled = request->sampled;
	} else {
		call->inherited = 0;
		call->randomness = draw_randomness(process->now_ns, call->goid);
		sampled = call->randomness >= process->config->sampling_threshold;
		if (!sampled)
			count_loss(LOSS_NOT_SAMPLED);
		else if (!take_token(process->config, process->now_ns)) {
			sampled = false;
			count_loss(LOSS_RATE_LIMITED);
		}
	}
	call->state = sampled ? PENDING_SAMPLED : PENDING_SKIPPED;
}
