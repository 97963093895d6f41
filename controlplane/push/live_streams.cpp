#include "controlplane/push/live_streams.h"

#include <vector>

namespace controlplane::push {

LiveStreams::Registration::~Registration() { streams_.remove(id_); }

std::unique_ptr<LiveStreams::Registration>
LiveStreams::add(std::string agent_id, base::Nanoseconds not_after, End end) {
  std::lock_guard lock(mutex_);
  uint64_t id = next_id_++;
  entries_.emplace(id, Entry{std::move(agent_id), not_after, std::move(end)});
  return std::unique_ptr<Registration>(new Registration(*this, id));
}

template <class Predicate>
void LiveStreams::end_where(Predicate predicate, const base::Error& why) {
  std::lock_guard ending(ending_);
  std::vector<End> ends;
  {
    std::lock_guard lock(mutex_);
    for (auto& [id, entry] : entries_)
      if (entry.end && predicate(entry)) ends.push_back(std::exchange(entry.end, nullptr));
  }
  for (End& end : ends) end(why);
}

void LiveStreams::end(const std::string& agent_id, const base::Error& why) {
  end_where([&](const Entry& entry) { return entry.agent_id == agent_id; }, why);
}

void LiveStreams::end_expired(base::Nanoseconds wall_time) {
  end_where(
      [&](const Entry& entry) { return entry.not_after <= wall_time; },
      {base::Code::kUnauthenticated,
       "CERTIFICATE_EXPIRED",
       "the certificate that opened this stream has expired: connect with the renewed one",
       {}});
}

size_t LiveStreams::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

std::set<std::string> LiveStreams::agents() const {
  std::lock_guard lock(mutex_);
  std::set<std::string> agents;
  for (const auto& [id, entry] : entries_) agents.insert(entry.agent_id);
  return agents;
}

// Waits for an End that runs in another thread, so that it never outlives what it refers to; one
// that ends its own registration does so in the same thread.
void LiveStreams::remove(uint64_t id) {
  std::lock_guard ending(ending_);
  std::lock_guard lock(mutex_);
  entries_.erase(id);
}

} // namespace controlplane::push
