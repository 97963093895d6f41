#include "agent/app/event_thread.h"

#include "agent/app/limits.h"
#include "base/log.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace agent::app {
namespace {

std::map<std::string, uint64_t> losses_of(const event::StitcherCounts& counts) {
  return {
      {"RECORD_MALFORMED", counts.malformed_records},
      {"HEAD_TRUNCATED", counts.heads_truncated},
      {"HEAD_MALFORMED", counts.heads_malformed},
      {"HEAD_LOST", counts.heads_lost},
      {"EXCHANGE_INCOMPLETE", counts.exchanges_incomplete},
      {"EXCHANGE_UNANSWERED", counts.exchanges_unanswered},
      {"CONNECTION_LIMIT", counts.exchanges_evicted}};
}

void add(std::map<std::string, uint64_t>& total, const std::map<std::string, uint64_t>& more) {
  for (const auto& [reason, count] : more)
    if (count > 0) total[reason] += count;
}

} // namespace

std::vector<telemetry::SessionView> views_of(const probe::Traced& traced) {
  std::map<std::string, telemetry::SessionView> views;
  for (const auto& [pid, shares] : traced) {
    for (const auto& share : shares) {
      auto [found, is_new] = views.try_emplace(share.session_id);
      auto& view = found->second;
      if (is_new) {
        view.session_id = share.session_id;
        view.threshold = share.sampling.threshold;
        view.spans_per_second = share.sampling.spans_per_second;
        view.server = share.server;
        view.client = share.client;
      }
      // Where rules make processes differ, the kernel's row has decided already: the loosest view
      // lets it pass.
      view.threshold = std::min(view.threshold, share.sampling.threshold);
      view.server = view.server || share.server;
      view.client = view.client || share.client;
      view.pids.push_back(pid);
    }
  }
  std::vector<telemetry::SessionView> all;
  for (auto& [id, view] : views) all.push_back(std::move(view));
  return all;
}

EventThread::EventThread(
    telemetry::HostResource host, const base::Clock& clock,
    std::function<std::map<std::string, uint64_t>()> losses, telemetry::Telemetry::Sink sink)
    : clock_(clock), priority_(clock), kernel_losses_(std::move(losses)),
      telemetry_(std::move(host), clock, std::move(sink)), commands_(kEventCommandsMax),
      thread_([this] { run(); }) {}

EventThread::~EventThread() {
  commands_.close();
  thread_.join();
}

probe::RingReader EventThread::ring_reader() {
  return {
      [this](base::Fd fd) { commands_.push(RingOpened{std::move(fd)}); },
      [this] {
        RingClosing closing;
        auto done = closing.done.get_future();
        if (commands_.push(std::move(closing))) done.wait();
      },
      [this] { return totals().records; }};
}

void EventThread::retrace(Retrace retrace) { commands_.push(std::move(retrace)); }

EventTotals EventThread::totals() const {
  std::lock_guard lock(mutex_);
  return totals_;
}

void EventThread::run() {
  pthread_setname_np(pthread_self(), "event");
  for (;;) {
    if (reader_) read(kRingPoll);
    auto command = reader_ ? commands_.pop_for(std::chrono::nanoseconds(0)) : commands_.pop();
    if (command)
      std::visit([this](auto& what) { execute(what); }, *command);
    else if (commands_.closed())
      break;
  }
  telemetry_.flush_all();
}

void EventThread::execute(RingOpened& command) {
  auto reader = event::RecordReader::open(
      command.fd.get(), clock_,
      [this](const event::HttpExchange& exchange) { telemetry_.on_exchange(exchange); });
  if (!reader) return base::log::error("the ring of records: {}", reader.error().message);
  reader_ = *std::move(reader);
  counted_losses_.clear();
}

void EventThread::execute(RingClosing& command) {
  if (reader_) {
    read(std::chrono::milliseconds(0));
    reader_->settle();
    count_losses();
    records_before_ += reader_->counts().records;
    add(losses_before_, losses_of(reader_->counts()));
    reader_.reset();
  }
  telemetry_.flush_all();
  publish_totals();
  command.done.set_value();
}

void EventThread::execute(Retrace& command) {
  if (reader_) read(std::chrono::milliseconds(0));
  for (const auto& [pid, resource] : command.processes) telemetry_.set_process(resource);
  for (const auto pid : traced_pids_) {
    if (command.processes.contains(pid)) continue;
    if (reader_) reader_->forget_process(pid);
    telemetry_.forget_process(pid);
  }
  traced_pids_.clear();
  for (const auto& [pid, resource] : command.processes) traced_pids_.insert(pid);
  finish_sessions();
  std::set<std::string> before = std::exchange(traced_sessions_, {});
  for (const auto& view : command.sessions) traced_sessions_.insert(view.session_id);
  telemetry_.set_sessions(std::move(command.sessions));
  // Telemetry goes on counting what stays, and begins anew with what comes back.
  for (const auto& id : before)
    if (traced_sessions_.contains(id)) finished_.erase(id);
  publish_totals();
}

void EventThread::finish_sessions() {
  for (const auto& id : traced_sessions_) finished_[id] = totals_of(id);
  while (finished_.size() > kSessionsRemembered) finished_.erase(finished_.begin());
}

SessionTotals EventThread::totals_of(const std::string& session_id) const {
  SessionTotals totals;
  if (auto before = finished_.find(session_id); before != finished_.end()) totals = before->second;
  totals.spans += telemetry_.spans_of(session_id);
  add(totals.losses, telemetry_.losses_of(session_id));
  return totals;
}

void EventThread::read(std::chrono::milliseconds timeout) {
  reader_->poll(timeout, [this] { priority_.piled_up(); });
  priority_.kept_up();
  count_losses();
  telemetry_.flush();
  publish_totals();
}

// Of programs and stitcher, into every session: a loss does not say whose it was.
void EventThread::count_losses() {
  auto now = kernel_losses_();
  add(now, losses_of(reader_->counts()));
  for (const auto& [reason, count] : now) {
    auto& counted = counted_losses_[reason];
    if (count > counted) telemetry_.count_loss(0, reason, count - counted);
    counted = std::max(counted, count);
  }
}

void EventThread::publish_totals() {
  EventTotals totals;
  totals.records = records_before_;
  totals.losses = losses_before_;
  if (reader_) {
    totals.records += reader_->counts().records;
    add(totals.losses, losses_of(reader_->counts()));
  }
  for (const auto& [id, session] : finished_) totals.sessions[id] = session;
  for (const auto& id : traced_sessions_) totals.sessions[id] = totals_of(id);
  std::lock_guard lock(mutex_);
  totals_ = std::move(totals);
}

} // namespace agent::app
