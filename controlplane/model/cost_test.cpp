#include "controlplane/model/cost.h"

#include <gtest/gtest.h>

namespace controlplane::model {
namespace {

sonde::v1::Session session_of(sonde::v1::HttpProbe::Side side) {
  sonde::v1::Session session;
  session.add_probes()->mutable_http()->set_side(side);
  return session;
}

TEST(Cost, NamesThePriceOfARequestAndTheBudgetThatHoldsIt) {
  auto session = session_of(sonde::v1::HttpProbe::BOTH);
  session.mutable_budget()->set_cpu_fraction(0.02);
  session.mutable_budget()->set_events_per_second(20'000);

  const auto estimate = estimate_cost(session);

  EXPECT_EQ(estimate.server_request_micros(), kServerRequestMicros);
  EXPECT_EQ(estimate.client_request_micros(), kClientRequestMicros);
  EXPECT_EQ(
      estimate.detail(),
      "about 2 µs of CPU per request served, 3 µs per request made in the service, 3 µs per span "
      "in the agent; how many there are is unknown until it runs; each host holds it to 2 % of a "
      "CPU "
      "and 20000 events a second");
}

TEST(Cost, CountsOnlyTheSideThatIsTraced) {
  const auto server = estimate_cost(session_of(sonde::v1::HttpProbe::SERVER));
  const auto client = estimate_cost(session_of(sonde::v1::HttpProbe::CLIENT));

  EXPECT_EQ(server.client_request_micros(), 0);
  EXPECT_EQ(client.server_request_micros(), 0);
  EXPECT_TRUE(client.detail().starts_with("about 3 µs of CPU per request made in the service"));
}

TEST(Cost, IsHeldByTheDefaultBudgetWhenNoneIsNamed) {
  const auto estimate = estimate_cost(session_of(sonde::v1::HttpProbe::BOTH));

  EXPECT_EQ(estimate.cpu_fraction_max(), kCpuFractionDefault);
  EXPECT_EQ(estimate.events_per_second_max(), kEventsPerSecondDefault);
}

} // namespace
} // namespace controlplane::model
