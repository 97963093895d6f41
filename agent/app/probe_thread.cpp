#include "agent/app/probe_thread.h"

#include "agent/app/assignments.h"
#include "agent/app/limits.h"
#include "agent/probe/limits.h"
#include "base/log.h"

#include <pthread.h>

namespace agent::app {
namespace {

sonde::v1::Ack
session_ack(const plan::DesiredSession& session, sonde::v1::AssignmentStatus status) {
  sonde::v1::Ack ack;
  ack.set_nonce(session.nonce);
  sonde::v1::AssignmentKey key;
  key.set_type(sonde::v1::AssignmentKey::SESSION);
  key.set_name(session.spec.session_id());
  add_status(ack, key, session.version, std::move(status));
  return ack;
}

} // namespace

ProbeThread::ProbeThread(
    probe::KernelFeatures features, probe::RingReader ring, probe::LiveCheck live_check,
    plan::LocalPolicy policy, const base::Clock& clock, ProbeOutputs outputs)
    : kernel_(std::move(features), std::move(ring), std::move(live_check)), clock_(clock),
      outputs_(std::move(outputs)),
      reconciler_(
          kernel_, clock, std::move(policy),
          {[this](const plan::DesiredSession& session, sonde::v1::AssignmentStatus status) {
             outputs_.acknowledge(session_ack(session, std::move(status)));
           },
           outputs_.traced}),
      commands_(kProbeCommandsMax), thread_([this] { run(); }) {}

ProbeThread::~ProbeThread() {
  commands_.close();
  thread_.join();
}

bool ProbeThread::post(ProbeCommand command) {
  if (commands_.push(std::move(command))) return true;
  base::log::warn("the probe thread is busy: {} commands dropped", commands_.dropped());
  return false;
}

probe::KernelUse ProbeThread::use() const {
  std::lock_guard lock(mutex_);
  return use_;
}

void ProbeThread::run() {
  pthread_setname_np(pthread_self(), "probe");
  for (;;) {
    auto command = reconciler_.has_sessions() ? commands_.pop_for(probe::kTick) : commands_.pop();
    if (!command && commands_.closed()) break;
    if (command) std::visit([this](auto& what) { execute(what); }, *command);
    if (clock_.boot_time() >= next_tick_) {
      reconciler_.tick();
      next_tick_ = clock_.boot_time() + probe::kTick;
    }
    auto use = reconciler_.use();
    std::lock_guard lock(mutex_);
    use_ = std::move(use);
  }
  reconciler_.apply({});
}

void ProbeThread::execute(Apply& command) {
  reconciler_.tick();
  for (auto& line : *command.then.mutable_assignments())
    if (line.key().type() == sonde::v1::AssignmentKey::SESSION)
      *line.mutable_status()->mutable_usage() = reconciler_.usage_of(line.key().name());
  reconciler_.apply(std::move(command.desired));
  if (command.then.assignments_size() > 0) outputs_.acknowledge(std::move(command.then));
}

void ProbeThread::execute(RefreshLeases& command) { reconciler_.refresh(command.deadlines); }

void ProbeThread::execute(ProcessStarted& command) {
  reconciler_.process_started(std::move(command.process));
}

void ProbeThread::execute(ProcessEnded& command) { reconciler_.process_ended(command.pid); }

} // namespace agent::app
