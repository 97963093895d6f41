#include "controlplane/model/validation.h"

#include "controlplane/model/limits.h"
#include "controlplane/model/selector.h"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include <algorithm>
#include <cstdlib>

namespace controlplane::model {
namespace {

using base::Error;
using base::invalid_argument;
using base::Result;
using google::protobuf::Duration;
using google::protobuf::util::TimeUtil;
using sonde::v1::Session;

// As the protos define them; arithmetic with others would overflow.
bool is_valid(const Duration& duration) {
  return std::abs(duration.nanos()) < 1'000'000'000 &&
         duration.seconds() >= TimeUtil::kDurationMinSeconds &&
         duration.seconds() <= TimeUtil::kDurationMaxSeconds;
}

bool is_valid(const Timestamp& time) {
  return time.nanos() >= 0 && time.nanos() < 1'000'000'000 &&
         time.seconds() >= TimeUtil::kTimestampMinSeconds &&
         time.seconds() <= TimeUtil::kTimestampMaxSeconds;
}

// Text that people read: no control characters, which could forge a line of a log or a terminal.
bool is_printable(const std::string& text) {
  return std::none_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
}

Result<> check_display_name(const std::string& name, std::string_view path) {
  if (name.size() <= kDisplayNameBytesMax && is_printable(name)) return {};
  return invalid_argument(
             "DISPLAY_NAME_INVALID",
             fmt::format(
                 "a display name has at most {} bytes and no control characters",
                 kDisplayNameBytesMax))
      .at(path);
}

Result<> check_ratio(double ratio, std::string_view path) {
  if (ratio >= 0 && ratio <= 1) return {}; // false for NaN
  return invalid_argument("RATIO_OUT_OF_RANGE", fmt::format("{} is not from 0 to 1", ratio))
      .at(path);
}

Result<> check_rate(int64_t rate, int64_t max, std::string_view path) {
  if (rate >= 0 && rate <= max) return {};
  return invalid_argument(
             "RATE_OUT_OF_RANGE", fmt::format("{} is not from 0 (no cap) to {}", rate, max))
      .at(path);
}

Error unknown_enum(int value, std::string_view path) {
  return invalid_argument(
             "UNKNOWN_ENUM_VALUE", fmt::format("{} is not a value of this field", value))
      .at(path);
}

Result<> complete_http(sonde::v1::HttpProbe& http, const std::string& path) {
  if (!sonde::v1::HttpProbe::Side_IsValid(http.side()))
    return unknown_enum(http.side(), path + ".side");
  if (http.route())
    return invalid_argument(
               "ROUTE_UNSUPPORTED", "http.route is not captured by this version: leave route unset")
        .at(path + ".route");
  if (http.side() == sonde::v1::HttpProbe::SIDE_UNSPECIFIED)
    http.set_side(sonde::v1::HttpProbe::BOTH);
  return {};
}

Result<> complete_probes(Session& session) {
  if (session.probes().empty())
    return invalid_argument("PROBES_REQUIRED", "a session needs a probe, such as {\"http\": {}}")
        .at("session.probes");
  if (session.probes_size() > kProbesMax)
    return invalid_argument("TOO_MANY_PROBES", fmt::format("at most {} probes", kProbesMax))
        .at("session.probes");
  for (int i = 0; i < session.probes_size(); ++i) {
    sonde::v1::Probe& probe = *session.mutable_probes(i);
    std::string path = fmt::format("session.probes[{}]", i);
    std::string kind = probe_kind(probe);
    if (kind.empty())
      return invalid_argument("PROBES_REQUIRED", "this probe says no kind, such as http").at(path);
    if (!probe.has_http())
      return invalid_argument(
                 "PROBE_UNSUPPORTED",
                 fmt::format("probes of kind {} are not in this version, http is", kind))
          .at(path + "." + kind);
    TRY(complete_http(*probe.mutable_http(), path + ".http"));
  }
  return {};
}

Result<> complete_sampling(sonde::v1::Sampling& sampling) {
  const std::string path = "session.sampling";
  if (!sampling.has_ratio()) sampling.set_ratio(1);
  TRY(check_ratio(sampling.ratio(), path + ".ratio"));
  TRY(check_rate(sampling.spans_per_second(), kSpansPerSecondMax, path + ".spansPerSecond"));
  if (sampling.has_keep_slower_than())
    return invalid_argument(
               "TAIL_SAMPLING_UNSUPPORTED",
               "keepSlowerThan is not in this version: sample by ratio")
        .at(path + ".keepSlowerThan");
  if (sampling.keep_errors())
    return invalid_argument(
               "TAIL_SAMPLING_UNSUPPORTED", "keepErrors is not in this version: sample by ratio")
        .at(path + ".keepErrors");
  return {};
}

Result<> check_budget(const sonde::v1::Budget& budget) {
  const bool cpu_ok = budget.cpu_fraction() >= 0 && budget.cpu_fraction() <= 1;
  if (!cpu_ok)
    return invalid_argument("BUDGET_OUT_OF_RANGE", "cpuFraction is a share of one CPU, from 0 to 1")
        .at("session.budget.cpuFraction");
  if (budget.events_per_second() < 0 || budget.events_per_second() > kEventsPerSecondMax)
    return invalid_argument(
               "BUDGET_OUT_OF_RANGE",
               fmt::format("eventsPerSecond is from 0 (the default) to {}", kEventsPerSecondMax))
        .at("session.budget.eventsPerSecond");
  return {};
}

Result<> complete_propagation(Session& session) {
  if (!Session::Propagation_IsValid(session.propagation()))
    return unknown_enum(session.propagation(), "session.propagation");
  if (session.propagation() == Session::PROPAGATION_UNSPECIFIED)
    session.set_propagation(Session::HEADERS);
  if (session.propagation() == Session::HEADERS) return {};
  return invalid_argument(
             "PROPAGATION_UNSUPPORTED", fmt::format(
                                            "{} is not in this version, HEADERS is",
                                            Session::Propagation_Name(session.propagation())))
      .at("session.propagation");
}

Result<> complete_export(sonde::v1::Export& where, const SessionPolicy& policy) {
  if (!where.has_store()) where.set_store(true);
  if (where.otlp_size() > kExportDestinationsMax)
    return invalid_argument(
               "TOO_MANY_DESTINATIONS",
               fmt::format("at most {} destinations", kExportDestinationsMax))
        .at("session.export.otlp");
  std::set<std::string> unique;
  for (const std::string& name : where.otlp()) {
    if (!policy.otlp_destinations.contains(name))
      return invalid_argument(
                 "UNKNOWN_DESTINATION",
                 fmt::format(
                     "no OTLP destination is called '{}' here (there is: {})", name,
                     policy.otlp_destinations.empty()
                         ? "none"
                         : fmt::format("{}", fmt::join(policy.otlp_destinations, ", "))))
          .at("session.export.otlp");
    unique.insert(name);
  }
  where.clear_otlp();
  for (const std::string& name : unique) where.add_otlp(name);
  return {};
}

Result<> complete_expiration(Session& session, const Timestamp& now) {
  if (session.has_ttl()) return check_ttl(session.ttl(), "session.ttl");
  if (!session.has_expire_time()) {
    *session.mutable_ttl() = TimeUtil::SecondsToDuration(kSessionTtlDefault.count());
    return {};
  }
  if (!is_valid(session.expire_time()) || session.expire_time() <= now)
    return invalid_argument("EXPIRE_TIME_IN_THE_PAST", "expireTime is not after now")
        .at("session.expireTime");
  Duration left = session.expire_time() - now;
  if (left > TimeUtil::SecondsToDuration(kSessionTtlMax.count()))
    return invalid_argument(
               "TTL_TOO_LONG",
               fmt::format("a session runs for at most {} s", kSessionTtlMax.count()))
        .at("session.expireTime");
  return {};
}

void keep_what_an_author_writes(Session& session) {
  session.clear_id();
  session.clear_state();
  session.clear_state_detail();
  session.clear_create_time();
  session.clear_start_time();
  session.clear_end_time();
  session.clear_update_time();
  session.clear_created_by();
  session.clear_etag();
  session.clear_summary();
}

// Everything but the expiration.
Result<> complete_what_is_traced(Session& session, const SessionPolicy& policy) {
  TRY(check_display_name(session.display_name(), "session.displayName"));
  TRY(check_selector(session.selector(), "session.selector"));
  TRY(complete_probes(session));
  TRY(complete_sampling(*session.mutable_sampling()));
  TRY(check_budget(session.budget()));
  TRY(complete_propagation(session));
  return complete_export(*session.mutable_export_(), policy);
}

} // namespace

Result<Session>
complete_session(const Session& asked, const SessionPolicy& policy, const Timestamp& now) {
  Session session = asked;
  keep_what_an_author_writes(session);
  TRY(complete_what_is_traced(session, policy));
  TRY(complete_expiration(session, now));
  return session;
}

Result<> check_ttl(const Duration& ttl, std::string_view path) {
  if (!is_valid(ttl) || ttl < TimeUtil::SecondsToDuration(kSessionTtlMin.count()))
    return invalid_argument(
               "TTL_TOO_SHORT", fmt::format("ttl is at least {} s", kSessionTtlMin.count()))
        .at(path);
  if (ttl > TimeUtil::SecondsToDuration(kSessionTtlMax.count()))
    return invalid_argument(
               "TTL_TOO_LONG",
               fmt::format("a session runs for at most {} s", kSessionTtlMax.count()))
        .at(path);
  return {};
}

Result<Session> update_session(
    const Session& current, const Session& changes, const google::protobuf::FieldMask& mask,
    const Timestamp& now) {
  static const std::set<std::string> kKnown{
      "display_name",
      "selector",
      "probes",
      "sampling",
      "sampling.ratio",
      "sampling.spans_per_second",
      "sampling.keep_slower_than",
      "sampling.keep_errors",
      "sampling.respect_parent_sampled",
      "budget",
      "budget.cpu_fraction",
      "budget.events_per_second",
      "propagation",
      "export",
      "expire_time",
      "ttl"};
  std::vector<std::string> paths(mask.paths().begin(), mask.paths().end());
  if (paths.empty()) {
    if (!changes.display_name().empty()) paths.push_back("display_name");
    if (changes.has_sampling()) paths.push_back("sampling");
    if (changes.has_budget()) paths.push_back("budget");
    if (changes.has_expire_time()) paths.push_back("expire_time");
    if (changes.has_ttl()) paths.push_back("ttl");
  }
  Session session = current;
  if (session.has_ttl()) session.clear_ttl();
  const auto& sampling = changes.sampling();
  for (const std::string& path : paths) {
    auto bad = [&](std::string_view reason, std::string_view why) {
      return invalid_argument(reason, fmt::format("{} {}", path, why)).at("updateMask");
    };
    if (!kKnown.contains(path))
      return bad("UNKNOWN_FIELD_PATH", "is no field of a session that can be set");
    if (path == "selector" || path == "probes" || path == "propagation" || path == "export")
      return bad("IMMUTABLE_FIELD", "cannot change while a session runs: start another one");
    if (path == "display_name") session.set_display_name(changes.display_name());
    if (path == "sampling") *session.mutable_sampling() = sampling;
    if (path == "sampling.ratio") {
      session.mutable_sampling()->clear_ratio();
      if (sampling.has_ratio()) session.mutable_sampling()->set_ratio(sampling.ratio());
    }
    if (path == "sampling.spans_per_second")
      session.mutable_sampling()->set_spans_per_second(sampling.spans_per_second());
    if (path == "sampling.keep_slower_than" && sampling.has_keep_slower_than())
      *session.mutable_sampling()->mutable_keep_slower_than() = sampling.keep_slower_than();
    if (path == "sampling.keep_errors")
      session.mutable_sampling()->set_keep_errors(sampling.keep_errors());
    if (path == "sampling.respect_parent_sampled")
      session.mutable_sampling()->set_respect_parent_sampled(sampling.respect_parent_sampled());
    if (path == "budget") *session.mutable_budget() = changes.budget();
    if (path == "budget.cpu_fraction")
      session.mutable_budget()->set_cpu_fraction(changes.budget().cpu_fraction());
    if (path == "budget.events_per_second")
      session.mutable_budget()->set_events_per_second(changes.budget().events_per_second());
    if (path == "expire_time") *session.mutable_expire_time() = changes.expire_time();
    if (path == "ttl") *session.mutable_ttl() = changes.ttl();
    if (path == "expire_time" || path == "ttl") TRY(complete_expiration(session, now));
  }
  TRY(check_display_name(session.display_name(), "session.displayName"));
  TRY(complete_sampling(*session.mutable_sampling()));
  TRY(check_budget(session.budget()));
  return session;
}

Result<> check_request_id(std::string_view request_id) {
  if (request_id.size() <= kRequestIdBytesMax && is_printable(std::string(request_id))) return {};
  return invalid_argument(
             "REQUEST_ID_INVALID",
             fmt::format("a request id has at most {} bytes", kRequestIdBytesMax))
      .at("requestId");
}

Result<int> page_size(int asked) {
  if (asked < 0)
    return invalid_argument("PAGE_SIZE_NEGATIVE", "pageSize is 0 for the default, or more")
        .at("pageSize");
  return asked == 0 ? kPageSizeDefault : std::min(asked, kPageSizeMax);
}

std::string probe_kind(const sonde::v1::Probe& probe) {
  const auto* kind = sonde::v1::Probe::descriptor()->FindOneofByName("kind");
  const auto* field = probe.GetReflection()->GetOneofFieldDescriptor(probe, kind);
  return field ? field->json_name() : "";
}

} // namespace controlplane::model
