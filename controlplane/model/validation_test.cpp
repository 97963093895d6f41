#include "controlplane/model/validation.h"

#include <gmock/gmock.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
#include <gtest/gtest.h>

#include <limits>

namespace {

using namespace controlplane::model;
using namespace sonde::v1;
using google::protobuf::FieldMask;
using google::protobuf::util::TimeUtil;

const SessionPolicy kPolicy{.otlp_destinations = {"default", "other"}};
const Timestamp kNow = TimeUtil::SecondsToTimestamp(1'700'000'000);

Session valid() {
  Session session;
  session.mutable_selector()->set_hosts("*");
  session.add_probes()->mutable_http();
  return session;
}

std::string refusal(const Session& session) {
  auto completed = complete_session(session, kPolicy, kNow);
  return completed.ok() ? "ok"
                        : std::string(completed.error().reason) + " " + completed.error().field;
}

template <class Change> std::string refusal_after(Change change) {
  Session session = valid();
  change(session);
  return refusal(session);
}

TEST(CompleteSession, FillsInDefaults) {
  auto session = complete_session(valid(), kPolicy, kNow);

  ASSERT_TRUE(session.ok()) << session.error().message;
  EXPECT_EQ(session->ttl().seconds(), 300);
  EXPECT_TRUE(session->export_().store());
  EXPECT_EQ(session->sampling().ratio(), 1);
  EXPECT_EQ(session->propagation(), Session::HEADERS);
  EXPECT_EQ(session->probes(0).http().side(), HttpProbe::BOTH);
}

TEST(CompleteSession, DropsWhatOnlyTheControlPlaneSets) {
  Session forged = valid();
  forged.set_id("x");
  forged.set_state(Session::ACTIVE);
  forged.set_created_by("root");
  forged.mutable_summary()->set_hosts(7);

  auto session = complete_session(forged, kPolicy, kNow);

  EXPECT_EQ(session->id(), "");
  EXPECT_EQ(session->state(), Session::STATE_UNSPECIFIED);
  EXPECT_EQ(session->created_by(), "");
  EXPECT_FALSE(session->has_summary());
}

TEST(CompleteSession, KeepsAnExplicitFalseStore) {
  Session session = valid();
  session.mutable_export_()->set_store(false);
  session.mutable_export_()->add_otlp("default");
  session.mutable_export_()->add_otlp("default");

  auto completed = complete_session(session, kPolicy, kNow);

  EXPECT_FALSE(completed->export_().store());
  EXPECT_EQ(completed->export_().otlp_size(), 1) << "a destination gets each span once";
}

TEST(CompleteSession, RefusesWithReasonAndField) {
  EXPECT_EQ(refusal(Session()), "EMPTY_SELECTOR session.selector");
  EXPECT_EQ(refusal_after([](Session& s) { s.clear_probes(); }), "PROBES_REQUIRED session.probes");
  EXPECT_EQ(refusal_after([](Session& s) { s.add_probes(); }), "PROBES_REQUIRED session.probes[1]");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.add_probes()->mutable_cpu_profile(); }),
      "PROBE_UNSUPPORTED session.probes[1].cpuProfile");
  EXPECT_EQ(
      refusal_after([](Session& s) {
        for (int i = 0; i < 20; ++i) s.add_probes()->mutable_http();
      }),
      "TOO_MANY_PROBES session.probes");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_probes(0)->mutable_http()->set_route(true); }),
      "ROUTE_UNSUPPORTED session.probes[0].http.route");
  EXPECT_EQ(
      refusal_after([](Session& s) {
        s.mutable_probes(0)->mutable_http()->set_side(static_cast<HttpProbe::Side>(9));
      }),
      "UNKNOWN_ENUM_VALUE session.probes[0].http.side");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.set_display_name("two\nlines"); }),
      "DISPLAY_NAME_INVALID session.displayName");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_selector()->set_hosts("a in"); }),
      "INVALID_LABEL_SELECTOR session.selector.hosts");
}

TEST(CompleteSession, RefusesSamplingOutOfRangeOrNotBuilt) {
  for (double ratio :
       {-0.1, 1.1, std::numeric_limits<double>::quiet_NaN(),
        std::numeric_limits<double>::infinity()})
    EXPECT_EQ(
        refusal_after([&](Session& s) { s.mutable_sampling()->set_ratio(ratio); }),
        "RATIO_OUT_OF_RANGE session.sampling.ratio");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_sampling()->set_spans_per_second(-1); }),
      "RATE_OUT_OF_RANGE session.sampling.spansPerSecond");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_sampling()->mutable_keep_slower_than(); }),
      "TAIL_SAMPLING_UNSUPPORTED session.sampling.keepSlowerThan");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_sampling()->set_keep_errors(true); }),
      "TAIL_SAMPLING_UNSUPPORTED session.sampling.keepErrors");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_budget()->set_cpu_fraction(2); }),
      "BUDGET_OUT_OF_RANGE session.budget.cpuFraction");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_budget()->set_events_per_second(-2); }),
      "BUDGET_OUT_OF_RANGE session.budget.eventsPerSecond");
}

TEST(CompleteSession, RefusesWhatIsNotInThisVersion) {
  for (auto propagation : {Session::CORRELATE, Session::INJECT})
    EXPECT_EQ(
        refusal_after([&](Session& s) { s.set_propagation(propagation); }),
        "PROPAGATION_UNSUPPORTED session.propagation");
  EXPECT_EQ(
      refusal_after([](Session& s) { s.mutable_export_()->add_otlp("elsewhere"); }),
      "UNKNOWN_DESTINATION session.export.otlp");
}

TEST(CompleteSession, BoundsItsTime) {
  auto with_ttl = [](int64_t seconds) {
    return refusal_after([&](Session& s) { s.mutable_ttl()->set_seconds(seconds); });
  };
  auto expiring_in = [](int64_t seconds) {
    return refusal_after([&](Session& s) {
      *s.mutable_expire_time() = kNow + TimeUtil::SecondsToDuration(seconds);
    });
  };
  EXPECT_EQ(with_ttl(1), "ok");
  EXPECT_EQ(with_ttl(3600), "ok");
  EXPECT_EQ(with_ttl(3601), "TTL_TOO_LONG session.ttl");
  EXPECT_EQ(with_ttl(0), "TTL_TOO_SHORT session.ttl");
  EXPECT_EQ(with_ttl(-5), "TTL_TOO_SHORT session.ttl");
  EXPECT_EQ(with_ttl(std::numeric_limits<int64_t>::max()), "TTL_TOO_SHORT session.ttl");
  EXPECT_EQ(expiring_in(60), "ok");
  EXPECT_EQ(expiring_in(0), "EXPIRE_TIME_IN_THE_PAST session.expireTime");
  EXPECT_EQ(expiring_in(3601), "TTL_TOO_LONG session.expireTime");
}

FieldMask mask(std::initializer_list<const char*> paths) {
  FieldMask mask;
  for (const char* path : paths) mask.add_paths(path);
  return mask;
}

TEST(UpdateSession, ChangesOnlyWhatTheMaskNames) {
  Session current = *complete_session(valid(), kPolicy, kNow);
  current.clear_ttl();
  *current.mutable_expire_time() = kNow + TimeUtil::SecondsToDuration(100);
  Session changes;
  changes.set_display_name("new");
  changes.mutable_sampling()->set_ratio(0.5);
  changes.mutable_sampling()->set_spans_per_second(9);

  auto updated = update_session(current, changes, mask({"sampling.ratio"}), kNow);

  ASSERT_TRUE(updated.ok()) << updated.error().message;
  EXPECT_EQ(updated->sampling().ratio(), 0.5);
  EXPECT_EQ(updated->sampling().spans_per_second(), 0);
  EXPECT_EQ(updated->display_name(), "");
  EXPECT_EQ(updated->expire_time(), current.expire_time());
}

TEST(UpdateSession, TakesEverythingThatIsSetWithoutAMask) {
  Session current = *complete_session(valid(), kPolicy, kNow);
  Session changes;
  changes.set_display_name("new");
  *changes.mutable_ttl() = TimeUtil::SecondsToDuration(60);

  auto updated = update_session(current, changes, {}, kNow);

  EXPECT_EQ(updated->display_name(), "new");
  EXPECT_EQ(updated->ttl().seconds(), 60);
}

TEST(UpdateSession, RefusesUnknownAndImmutableFieldsAndBadValues) {
  Session current = *complete_session(valid(), kPolicy, kNow);
  Session changes;
  changes.mutable_sampling()->set_ratio(7);
  auto reason = [&](const char* path) {
    auto updated = update_session(current, changes, mask({path}), kNow);
    return updated.ok() ? std::string("ok") : std::string(updated.error().reason);
  };

  EXPECT_EQ(reason("state"), "UNKNOWN_FIELD_PATH");
  EXPECT_EQ(reason("selector"), "IMMUTABLE_FIELD");
  EXPECT_EQ(reason("probes"), "IMMUTABLE_FIELD");
  EXPECT_EQ(reason("sampling.ratio"), "RATIO_OUT_OF_RANGE");
  EXPECT_EQ(reason("expire_time"), "EXPIRE_TIME_IN_THE_PAST");
  EXPECT_EQ(reason("display_name"), "ok");
}

TEST(SamplingRules, AreCheckedLikeSessions) {
  SamplingRule rule;
  EXPECT_EQ(complete_sampling_rule(rule).error().reason, "EMPTY_SELECTOR");
  rule.mutable_selector()->set_service("checkout");
  EXPECT_TRUE(complete_sampling_rule(rule).ok());
  rule.set_ratio(2);
  EXPECT_EQ(complete_sampling_rule(rule).error().field, "samplingRule.ratio");
  rule.set_ratio(0);
  rule.mutable_selector()->set_max_hosts(1);
  EXPECT_EQ(complete_sampling_rule(rule).error().field, "samplingRule.selector.maxHosts");
}

TEST(SamplingRules, ChangeByMask) {
  SamplingRule current;
  current.mutable_selector()->set_service("checkout");
  current.set_ratio(0.5);
  SamplingRule changes;
  changes.set_disabled(true);

  EXPECT_TRUE(update_sampling_rule(current, changes, {})->disabled());
  auto cleared = update_sampling_rule(current, changes, mask({"ratio"}));
  EXPECT_FALSE(cleared->has_ratio());
  EXPECT_FALSE(cleared->disabled());
  EXPECT_EQ(
      update_sampling_rule(current, changes, mask({"id"})).error().reason, "UNKNOWN_FIELD_PATH");
}

TEST(OffsetTables, NeedAVersionAnArchitectureAndFields) {
  OffsetTable table;
  auto reason = [&] {
    auto completed = complete_offset_table(table);
    return completed.ok() ? std::string("ok") : std::string(completed.error().reason);
  };
  EXPECT_EQ(reason(), "GO_VERSION_INVALID");
  for (const char* version :
       {"", "go1.", "go2.1", "go1.22.", "go1.22.x", "go1.22rc", "go1.22-x", "go1.22.12 ",
        "go1.1234", "go1.22beta123"}) {
    table.set_go_version(version);
    EXPECT_EQ(reason(), "GO_VERSION_INVALID") << version;
  }
  for (const char* version : {"go1.22", "go1.27rc1", "go1.18beta2"}) {
    table.set_go_version(version);
    EXPECT_NE(reason(), "GO_VERSION_INVALID") << version;
  }
  table.set_go_version("go1.22.12");
  EXPECT_EQ(reason(), "ARCHITECTURE_INVALID");
  table.set_architecture("amd64");
  EXPECT_EQ(reason(), "FIELDS_REQUIRED");
  auto* field = table.add_fields();
  EXPECT_EQ(reason(), "OFFSET_FIELD_INVALID");
  field->set_type("runtime.g");
  field->set_field("goid");
  field->set_offset_bytes(152);
  EXPECT_EQ(reason(), "ok");
  *table.add_fields() = table.fields(0);
  EXPECT_EQ(reason(), "OFFSET_FIELD_REPEATED");
  table.mutable_fields()->RemoveLast();
  table.set_module_version("v1");
  EXPECT_EQ(reason(), "MODULE_VERSION_WITHOUT_MODULE");
}

TEST(PageSize, IsCutDownAndNeverNegative) {
  EXPECT_EQ(*page_size(0), 50);
  EXPECT_EQ(*page_size(7), 7);
  EXPECT_EQ(*page_size(1'000'000), 1000);
  EXPECT_EQ(page_size(-1).error().reason, "PAGE_SIZE_NEGATIVE");
}

} // namespace
