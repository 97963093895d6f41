#include "agent/link/link.h"

#include "agent/link/backoff.h"
#include "agent/link/outbox.h"
#include "base/log.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <random>
#include <thread>

namespace agent::link {
namespace {

using base::Error;
using base::Nanoseconds;
using sonde::v1::ConnectRequest;
using sonde::v1::ConnectResponse;
using std::chrono::milliseconds;

// The app sees nonces that are unique over all streams: the stream in the upper half, the server's
// in the lower.
constexpr int kStreamShift = 32;
constexpr uint64_t kNonceMask = (uint64_t{1} << kStreamShift) - 1;

bool refused_by_name(const Error& error) {
  return error.code == base::Code::kPermissionDenied || error.code == base::Code::kUnauthenticated;
}

} // namespace

bool Disconnected::dismissed() const {
  return error.reason == "AGENT_BANNED" || error.reason == "AGENT_EVICTED";
}

class Link::Worker {
 public:
  Worker(
      Options options, CredentialSource credential, Sources sources, base::Queue<Event>& events,
      const base::Clock& clock, Dial dial)
      : options_(std::move(options)), credential_(std::move(credential)),
        sources_(std::move(sources)), events_(events), clock_(clock), dial_(std::move(dial)),
        backoff_(std::random_device{}()) {}
  ~Worker() { stop(); }

  void start() {
    thread_ = std::jthread([this] { run(); });
  }
  void stop() {
    {
      std::lock_guard lock(inbox_->mutex);
      inbox_->stopping = true;
    }
    inbox_->changed.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  // Any thread.
  template <class Change> void change_outbox(Change change) {
    {
      std::lock_guard lock(inbox_->mutex);
      change(inbox_->outbox);
    }
    inbox_->changed.notify_all();
  }
  void acknowledge(const sonde::v1::Ack& ack) {
    change_outbox([&](Outbox& outbox) {
      bool this_stream = ack.nonce() >> kStreamShift == inbox_->stream_number;
      outbox.acknowledge(this_stream ? ack.nonce() & kNonceMask : 0, ack);
    });
  }
  void credential_changed() {
    {
      std::lock_guard lock(inbox_->mutex);
      inbox_->credential_changed = true;
    }
    inbox_->changed.notify_all();
  }
  Stats stats() const {
    std::lock_guard lock(inbox_->mutex);
    return inbox_->stats;
  }

 private:
  // What other threads leave for the worker. Shared with the listeners of streams that are still
  // closing.
  struct Inbox {
    mutable std::mutex mutex;
    std::condition_variable changed;
    Outbox outbox;
    uint64_t stream_number = 0; // of the current stream; what others say of older ones is ignored
    bool accepted = false;
    bool written = false;
    std::optional<ConnectResponse> received; // one read at a time
    std::optional<Error> closed;
    bool credential_changed = false;
    bool stopping = false;
    Stats stats;
  };

  class Listener final : public StreamListener {
   public:
    Listener(std::shared_ptr<Inbox> inbox, uint64_t stream)
        : inbox_(std::move(inbox)), stream_(stream) {}
    void accepted() override {
      leave([](Inbox& inbox) { inbox.accepted = true; });
    }
    void received(ConnectResponse message) override {
      leave([&](Inbox& inbox) { inbox.received = std::move(message); });
    }
    void written() override {
      leave([](Inbox& inbox) { inbox.written = true; });
    }
    void closed(Error error) override {
      leave([&](Inbox& inbox) { inbox.closed = std::move(error); });
    }

   private:
    template <class Leave> void leave(Leave leave) {
      {
        std::lock_guard lock(inbox_->mutex);
        if (inbox_->stream_number != stream_) return;
        leave(*inbox_);
      }
      inbox_->changed.notify_all();
    }
    const std::shared_ptr<Inbox> inbox_;
    const uint64_t stream_;
  };

  using Lock = std::unique_lock<std::mutex>;

  void run();
  // One stream from dialling to its end; why it ended.
  Error converse();
  std::unique_ptr<ClientStream> dial();
  Error hold_conversation(ClientStream& stream);
  bool wait_until_accepted(Lock& lock);
  std::optional<Error> handle_message(ConnectResponse message);
  void begin(ClientStream& stream, Lock& lock);
  void settle(const Error& error, Nanoseconds started);
  void pause_for(Nanoseconds duration);
  bool deliver(Event event);
  std::string address() const { return options_.addresses[address_ % options_.addresses.size()]; }

  const Options options_;
  const CredentialSource credential_;
  const Sources sources_;
  base::Queue<Event>& events_;
  const base::Clock& clock_;
  const Dial dial_;
  const std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();

  // The worker's thread only.
  Backoff backoff_;
  size_t address_ = std::random_device{}();
  bool connected_ = false;
  Nanoseconds retry_after_{};
  std::string last_complaint_;
  std::jthread thread_; // last: it uses the rest
};

void Link::Worker::run() {
  if (options_.addresses.empty()) return base::log::error("link: no address of a control plane");
  while (true) {
    {
      Lock lock(inbox_->mutex);
      if (inbox_->stopping) return;
    }
    Nanoseconds started = clock_.boot_time();
    Error error = converse();
    settle(error, started);
  }
}

Error Link::Worker::converse() {
  connected_ = false;
  retry_after_ = {};
  auto stream = dial();
  Error error = hold_conversation(*stream);
  {
    Lock lock(inbox_->mutex);
    ++inbox_->stream_number; // what the old stream still says is for nobody
    inbox_->outbox.pause();
    inbox_->stats.connected = false;
    inbox_->stats.last_error = error.reason;
    if (connected_) ++inbox_->stats.disconnects;
  }
  return error;
}

std::unique_ptr<ClientStream> Link::Worker::dial() {
  uint64_t number;
  {
    Lock lock(inbox_->mutex);
    number = ++inbox_->stream_number;
    inbox_->accepted = inbox_->written = inbox_->credential_changed = false;
    inbox_->received.reset();
    inbox_->closed.reset();
  }
  return dial_(address(), credential_(), std::make_shared<Listener>(inbox_, number));
}

bool Link::Worker::wait_until_accepted(Lock& lock) {
  inbox_->changed.wait_for(lock, kConnectTimeout, [&] {
    return inbox_->accepted || inbox_->closed || inbox_->stopping;
  });
  return inbox_->accepted;
}

// The Hello, then all that the control plane has to know again.
void Link::Worker::begin(ClientStream& stream, Lock& lock) {
  inbox_->outbox.restart();
  inbox_->stats.connected = true;
  ++inbox_->stats.connects;
  lock.unlock();
  connected_ = true;
  last_complaint_.clear();
  base::log::info("link: connected to {}", address());
  if (sources_.channel_changed) sources_.channel_changed(stream.channel());
  deliver({Connected{address()}, clock_.boot_time()});
  // After restart(): a process that starts meanwhile is in this report or in the next.
  auto processes = sources_.processes ? sources_.processes() : std::vector<sonde::v1::Process>();
  ConnectRequest hello;
  *hello.mutable_hello() = sources_.hello();
  stream.write(hello);
  stream.read();
  lock.lock();
  inbox_->outbox.report_all(std::move(processes));
}

Error Link::Worker::hold_conversation(ClientStream& stream) {
  Lock lock(inbox_->mutex);
  if (!wait_until_accepted(lock)) {
    if (inbox_->closed) return *inbox_->closed;
    return base::unavailable("CONTROL_PLANE_UNREACHABLE", address() + " does not answer in time");
  }
  begin(stream, lock);
  bool writing = true;
  while (true) {
    inbox_->changed.wait(lock, [&] {
      return inbox_->stopping || inbox_->closed || inbox_->received || inbox_->written ||
             inbox_->credential_changed || inbox_->outbox.overflowed() ||
             (!writing && !inbox_->outbox.empty());
    });
    if (inbox_->stopping) return {base::Code::kCancelled, "SHUTTING_DOWN", "the agent ends", {}};
    if (inbox_->received) {
      ConnectResponse message = *std::exchange(inbox_->received, std::nullopt);
      lock.unlock();
      if (auto end = handle_message(std::move(message))) return *std::move(end);
      stream.read();
      lock.lock();
      continue;
    }
    if (inbox_->closed) return *inbox_->closed;
    if (inbox_->credential_changed)
      return {base::Code::kOk, "CERTIFICATE_RENEWED", "the certificate was renewed", {}};
    if (inbox_->outbox.overflowed())
      return {base::Code::kOk, "PROCESS_REPORT_OVERFLOW", "too many changes of processes", {}};
    if (std::exchange(inbox_->written, false)) writing = false;
    if (writing) continue;
    if (auto message = inbox_->outbox.next()) {
      writing = true;
      lock.unlock();
      stream.write(*message);
      lock.lock();
    }
  }
}

// Empty, or why the stream has to end.
std::optional<Error> Link::Worker::handle_message(ConnectResponse message) {
  Nanoseconds now = clock_.boot_time();
  bool taken = true;
  if (message.has_delta()) {
    uint64_t stream;
    {
      Lock lock(inbox_->mutex);
      stream = inbox_->stream_number;
    }
    sonde::v1::Delta& delta = *message.mutable_delta();
    delta.set_nonce(stream << kStreamShift | (delta.nonce() & kNonceMask));
    taken = deliver({std::move(delta), now});
  } else if (message.has_lease_refresh()) {
    taken = deliver({std::move(*message.mutable_lease_refresh()), now});
  } else if (message.has_go_away()) {
    const auto& after = message.go_away().retry_after();
    const auto asked = std::chrono::seconds(after.seconds()) + Nanoseconds(after.nanos());
    retry_after_ = std::clamp<Nanoseconds>(asked, milliseconds(1), kRetryAfterMax);
    return Error{base::Code::kUnavailable, "SHUTTING_DOWN", "the control plane asks to leave", {}};
  }
  if (taken) return std::nullopt;
  // Nothing is lost: the next Hello says what is held, and the control plane sends the rest again.
  Lock lock(inbox_->mutex);
  ++inbox_->stats.queue_overflows;
  return Error{
      base::Code::kResourceExhausted, "QUEUE_FULL", "the agent is too busy to take messages", {}};
}

bool Link::Worker::deliver(Event event) { return events_.push(std::move(event)); }

// Tells the app, and waits as long as the next attempt has to.
void Link::Worker::settle(const Error& error, Nanoseconds started) {
  bool by_choice = error.code == base::Code::kOk && error.reason != "CONTROL_PLANE_UNREACHABLE";
  Disconnected disconnected{error};
  if (connected_ || disconnected.dismissed())
    deliver({std::move(disconnected), clock_.boot_time()});
  if (connected_ && clock_.boot_time() - started >= kGoodStream) backoff_.reset();
  if (by_choice) return;
  const bool sent_away = retry_after_ > Nanoseconds(0);
  if (!connected_ || sent_away) ++address_;
  std::string complaint = std::string(error.reason) + ": " + error.message;
  if (error.reason != "SHUTTING_DOWN" && complaint != last_complaint_)
    base::log::warn("link: {}", complaint);
  last_complaint_ = std::move(complaint);
  Nanoseconds delay = backoff_.next();
  if (refused_by_name(error)) delay = std::max<Nanoseconds>(delay, kRefusedRetryMin);
  pause_for(std::max(delay, retry_after_));
}

void Link::Worker::pause_for(Nanoseconds duration) {
  Lock lock(inbox_->mutex);
  inbox_->changed.wait_for(
      lock, duration, [&] { return inbox_->stopping || inbox_->credential_changed; });
}

Link::Link(
    Options options, const identity::Identity& identity, Sources sources,
    base::Queue<Event>& events, const base::Clock& clock)
    : Link(
          std::move(options), [&identity] { return identity.credential(); }, std::move(sources),
          events, clock, grpc_dial()) {}

Link::Link(
    Options options, CredentialSource credential, Sources sources, base::Queue<Event>& events,
    const base::Clock& clock, Dial dial)
    : worker_(std::make_unique<Worker>(
          std::move(options), std::move(credential), std::move(sources), events, clock,
          std::move(dial))) {}

Link::~Link() = default;

void Link::start() { worker_->start(); }

void Link::acknowledge(const sonde::v1::Ack& ack) { worker_->acknowledge(ack); }

void Link::heartbeat(const sonde::v1::AgentHealth& health) {
  worker_->change_outbox([&](Outbox& outbox) { outbox.heartbeat(health); });
}

void Link::report_processes(
    std::vector<sonde::v1::Process> started, std::vector<uint32_t> ended_pids) {
  worker_->change_outbox(
      [&](Outbox& outbox) { outbox.report_processes(std::move(started), ended_pids); });
}

void Link::credential_changed() { worker_->credential_changed(); }

Stats Link::stats() const { return worker_->stats(); }

} // namespace agent::link
