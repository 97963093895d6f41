#include "controlplane/push/dispatcher.h"

#include "base/log.h"
#include "controlplane/model/session_state.h"
#include "controlplane/store/agents.h"
#include "controlplane/store/assignments.h"
#include "controlplane/store/offset_tables.h"
#include "controlplane/store/sampling_rules.h"
#include "controlplane/store/sessions.h"

namespace controlplane::push {
namespace {

using base::Result;
using sonde::v1::AssignmentKey;
using store::ChangeKind;
using store::Transaction;

base::Nanoseconds to_nanoseconds(const google::protobuf::Timestamp& time) {
  return std::chrono::seconds(time.seconds()) + base::Nanoseconds(time.nanos());
}

base::Error expulsion(store::Standing standing) {
  if (standing == store::Standing::kBanned)
    return {base::Code::kPermissionDenied, "AGENT_BANNED", "this agent was banned", {}};
  return {
      base::Code::kPermissionDenied,
      "AGENT_EVICTED",
      "this agent was evicted: enroll it again with a new join token",
      {}};
}

template <class Value> std::vector<std::string> keys_of(const std::map<std::string, Value>& map) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

} // namespace

Dispatcher::Dispatcher(
    store::Pool& pool, const Fleet& fleet, LiveStreams& streams, const base::Clock& clock,
    Options options, std::function<void(const AgentSession&)> ended)
    : pool_(pool), fleet_(fleet), streams_(streams), clock_(clock), options_(std::move(options)),
      ended_(std::move(ended)) {}

Dispatcher::~Dispatcher() { stop(); }

void Dispatcher::start() {
  thread_ = std::jthread([this] { run(); });
}

void Dispatcher::stop() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Dispatcher::changed(const store::ChangeFeed::Batch& batch) {
  if (!batch.reload && batch.changes.empty()) return;
  std::lock_guard lock(mutex_);
  if (batch.reload) {
    work_.sessions = work_.rules = work_.tables = true;
    work_.agents.merge(streams_.agents());
  }
  for (const store::Change& change : batch.changes) {
    if (change.kind == ChangeKind::kSession) work_.sessions = true;
    if (change.kind == ChangeKind::kSamplingRule) work_.rules = true;
    if (change.kind == ChangeKind::kOffsetTable) work_.tables = true;
    if (change.kind == ChangeKind::kAgent) work_.agents.insert(change.key);
  }
  if (!behind_since_) behind_since_ = clock_.boot_time();
  wake_.notify_all();
}

void Dispatcher::greeted(std::shared_ptr<AgentSession> session) {
  std::lock_guard lock(mutex_);
  work_.greetings.push_back(std::move(session));
  wake_.notify_all();
}

std::optional<base::Nanoseconds>
Dispatcher::view_age(std::optional<base::Nanoseconds> feed_view) const {
  std::lock_guard lock(mutex_);
  if (!feed_view || !read_once_) return std::nullopt;
  base::Nanoseconds view = *feed_view;
  if (behind_since_) view = std::min(view, *behind_since_);
  return clock_.boot_time() - view;
}

void Dispatcher::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [&] { return stopping_ || !work_.empty(); });
    if (stopping_) return;
    Work work;
    std::swap(work, work_);
    if (work.greetings.size() > kGreetingsPerBatch) {
      work_.greetings.assign(work.greetings.begin() + kGreetingsPerBatch, work.greetings.end());
      work.greetings.resize(kGreetingsPerBatch);
    }
    lock.unlock();
    bool done = perform(work);
    lock.lock();
    if (!done) {
      give_back(std::move(work));
      wake_.wait_for(lock, kDispatchRetry, [&] { return stopping_; });
      continue;
    }
    read_once_ = read_once_ || work.sessions;
    if (!work_.sessions && !work_.rules && !work_.tables && work_.agents.empty())
      behind_since_.reset();
  }
}

void Dispatcher::give_back(Work work) {
  work_.sessions |= work.sessions;
  work_.rules |= work.rules;
  work_.tables |= work.tables;
  work_.agents.merge(work.agents);
  work_.greetings.insert(work_.greetings.end(), work.greetings.begin(), work.greetings.end());
}

bool Dispatcher::perform(const Work& work) {
  forget_the_gone();
  auto read = pool_.transaction([&](Transaction& tx) -> Result<> {
    TRY(write_greetings(tx, work));
    TRY(read_fleet_state(tx, work));
    TRY(read_agents(tx, work));
    TRY(read_assignees(tx));
    if (TRY(assign_latecomers(tx))) TRY(read_assignees(tx));
    return {};
  });
  if (!read) {
    base::log::warn("push: desired state is not read: {}", read.error().message);
    return false;
  }
  // A stream that ended before its row was written was reported as ended too early.
  for (const auto& session : work.greetings)
    if (session->is_closed()) ended_(*session);
  if (!end_the_expelled(work)) return false;
  encode_assignments();
  for (const auto& [agent_id, known] : agents_)
    if (auto session = fleet_.find(agent_id)) session->set_desired(desired_state(known));
  return true;
}

void Dispatcher::forget_the_gone() {
  std::erase_if(agents_, [&](const auto& agent) { return !fleet_.find(agent.first); });
}

Result<> Dispatcher::write_greetings(Transaction& tx, const Work& work) {
  for (const auto& session : work.greetings) {
    if (session->is_closed()) continue;
    auto written = store::write_connection(
        tx, {.agent_id = session->agent_id(),
             .replica_id = options_.replica_id,
             .connection_id = session->connection_id(),
             .hello = session->hello().value_or(sonde::v1::Hello())});
    // Deleted between its admission and now.
    if (!written && written.error().reason != "AGENT_NOT_FOUND") return std::move(written).error();
  }
  return {};
}

Result<> Dispatcher::read_fleet_state(Transaction& tx, const Work& work) {
  if (work.sessions) sessions_ = TRY(store::find_live_sessions(tx));
  if (work.rules) rules_ = TRY(store::find_enabled_sampling_rules(tx));
  if (work.tables) tables_ = TRY(store::find_offset_tables(tx));
  has_live_sessions_ = !sessions_.empty();
  return {};
}

Result<> Dispatcher::read_agents(Transaction& tx, const Work& work) {
  std::set<std::string> wanted;
  for (const std::string& agent_id : work.agents)
    if (fleet_.find(agent_id)) wanted.insert(agent_id);
  for (const auto& session : work.greetings) wanted.insert(session->agent_id());
  if (wanted.empty()) return {};
  std::vector<model::AgentView> views =
      TRY(store::find_agent_views(tx, {wanted.begin(), wanted.end()}));
  for (model::AgentView& view : views) {
    view.online = true; // its stream ends here, whatever the row says of it
    agents_[view.agent_id].view = std::move(view);
  }
  return {};
}

// Agents that came, or got the labels, after a session began. Answers whether there were any.
Result<bool> Dispatcher::assign_latecomers(Transaction& tx) {
  std::vector<model::AgentView> views;
  for (const auto& [agent_id, known] : agents_) views.push_back(known.view);
  bool any = false;
  for (const sonde::v1::Session& session : sessions_) {
    if (!model::is_running(session.state())) continue;
    std::vector<std::string> missing;
    for (const model::AgentView& view : views) {
      bool assigned = agents_[view.agent_id].sessions.contains(session.id());
      if (!assigned && view.accepts_sessions && model::selects_agent(session.selector(), view))
        missing.push_back(view.agent_id);
    }
    if (missing.empty()) continue;
    std::vector<std::string> added = TRY(store::assign_agents(tx, session.id(), missing));
    any = any || !added.empty();
  }
  return any;
}

Result<> Dispatcher::read_assignees(Transaction& tx) {
  for (auto& [agent_id, known] : agents_) known.sessions.clear();
  if (agents_.empty() || sessions_.empty()) return {};
  std::vector<store::Assignee> assignees = TRY(store::find_assignees(tx, keys_of(agents_)));
  for (store::Assignee& assignee : assignees) {
    auto found = agents_.find(assignee.agent_id);
    if (found != agents_.end()) found->second.sessions.insert(std::move(assignee.session_id));
  }
  return {};
}

// Everything an expelled agent has open here ends now; it is not let in again. False when the store
// did not say: a ban must not be missed.
bool Dispatcher::end_the_expelled(const Work& work) {
  if (work.agents.empty()) return true;
  bool all_known = true;
  std::set<std::string> here = streams_.agents();
  for (const std::string& agent_id : work.agents) {
    if (!here.contains(agent_id)) continue;
    auto standing =
        pool_.transaction([&](Transaction& tx) { return store::find_standing(tx, agent_id); });
    if (!standing) {
      all_known = all_known && standing.error().reason == "AGENT_NOT_FOUND";
      continue;
    }
    if (*standing == store::Standing::kEvicted || *standing == store::Standing::kBanned)
      streams_.end(agent_id, expulsion(*standing));
  }
  return all_known;
}

void Dispatcher::encode_assignments() {
  DesiredState encoded;
  auto add = [&](const sonde::v1::Assignment& assignment, base::Nanoseconds expires = {}) {
    EncodedAssignment fresh = encode(assignment, expires);
    // The bytes that agents may still be sent stay the same object.
    auto known = encoded_.find(fresh.key);
    if (known != encoded_.end() && known->second.version == fresh.version)
      fresh.field = known->second.field;
    encoded.emplace(fresh.key, std::move(fresh));
  };
  for (const auto& session : sessions_)
    if (model::is_running(session.state()))
      add(model::assignment_of(session), to_nanoseconds(session.expire_time()));
  for (const auto& rule : rules_) add(model::assignment_of(rule));
  for (const auto& table : tables_) add(model::assignment_of(table));
  sonde::v1::AgentSettings settings;
  settings.mutable_heartbeat_interval()->set_seconds(options_.heartbeat_interval.count());
  add(model::assignment_of(settings));
  encoded_ = std::move(encoded);
}

std::shared_ptr<const DesiredState> Dispatcher::desired_state(const Known& agent) const {
  auto desired = std::make_shared<DesiredState>();
  auto take = [&](AssignmentKey::Type type, const std::string& name) {
    auto found = encoded_.find({type, name});
    if (found != encoded_.end()) desired->insert(*found);
  };
  for (const std::string& session_id : agent.sessions) take(AssignmentKey::SESSION, session_id);
  for (const auto& rule : rules_)
    if (model::is_for(rule, agent.view)) take(AssignmentKey::SAMPLING_RULE, rule.id());
  for (const auto& table : tables_)
    if (model::is_for(table, agent.view)) take(AssignmentKey::OFFSET_TABLE, table.id());
  take(AssignmentKey::SETTINGS, "");
  return desired;
}

} // namespace controlplane::push
