// The agents whose control stream ends at this replica. Thread-safe.
#pragma once

#include "controlplane/push/agent_session.h"

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace controlplane::push {

class Fleet {
 public:
  // The newest stream of an agent is the one that counts; answers the one it replaces, for the
  // caller to end.
  std::shared_ptr<AgentSession> add(std::shared_ptr<AgentSession> session) {
    std::lock_guard lock(mutex_);
    std::shared_ptr<AgentSession>& slot = sessions_[session->agent_id()];
    std::swap(slot, session);
    return session;
  }
  void remove(const AgentSession& session) {
    std::lock_guard lock(mutex_);
    auto found = sessions_.find(session.agent_id());
    if (found != sessions_.end() && found->second.get() == &session) sessions_.erase(found);
  }
  std::shared_ptr<AgentSession> find(const std::string& agent_id) const {
    std::lock_guard lock(mutex_);
    auto found = sessions_.find(agent_id);
    return found == sessions_.end() ? nullptr : found->second;
  }
  std::vector<std::shared_ptr<AgentSession>> all() const {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<AgentSession>> sessions;
    sessions.reserve(sessions_.size());
    for (const auto& [id, session] : sessions_) sessions.push_back(session);
    return sessions;
  }
  size_t size() const {
    std::lock_guard lock(mutex_);
    return sessions_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<AgentSession>> sessions_;
};

} // namespace controlplane::push
