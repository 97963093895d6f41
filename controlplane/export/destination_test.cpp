#include "controlplane/export/client.h"
#include "controlplane/export/destination.h"

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

#include <gtest/gtest.h>

namespace controlplane::exporter {
namespace {

TEST(Destination, IsPlaintextUnlessItSaysHttps) {
  const auto plain = parse_destination("default", "collector:4317");
  ASSERT_TRUE(plain.ok());
  EXPECT_EQ(plain->address, "collector:4317");
  EXPECT_FALSE(plain->tls);

  const auto tls = parse_destination(
      "vendor", "https://otel.example:443/,ca=/etc/ca.pem,header.X-Api-Key=s=cret");
  ASSERT_TRUE(tls.ok());
  EXPECT_EQ(tls->address, "otel.example:443");
  EXPECT_TRUE(tls->tls);
  EXPECT_EQ(tls->ca_file, "/etc/ca.pem");
  EXPECT_EQ(tls->headers.at("x-api-key"), "s=cret");
}

TEST(Destination, SaysWhatIsWrong) {
  for (const char* text :
       {"", "collector", "collector:", ":4317", "collector:port", "http://a:1/v1/traces", "a:1,ca",
        "a:1,colour=red", "a:1,header.=x"})
    EXPECT_EQ(parse_destination("d", text).error().reason, "INVALID_DESTINATION") << text;
  EXPECT_FALSE(parse_destination("", "a:1").ok());
  EXPECT_FALSE(parse_destination("a b", "a:1").ok());
}

TEST(Judge, FollowsTheOtlpSpecification) {
  EXPECT_EQ(judge(grpc::Status::OK).verdict, Verdict::kDelivered);
  for (const grpc::StatusCode code :
       {grpc::CANCELLED, grpc::DEADLINE_EXCEEDED, grpc::ABORTED, grpc::OUT_OF_RANGE,
        grpc::UNAVAILABLE, grpc::DATA_LOSS})
    EXPECT_EQ(judge({code, "later"}).verdict, Verdict::kRetry) << code;
  EXPECT_EQ(judge({grpc::INVALID_ARGUMENT, "no"}).verdict, Verdict::kReject);
  EXPECT_EQ(judge({grpc::UNAUTHENTICATED, "who"}).verdict, Verdict::kMisconfigured);
  EXPECT_EQ(judge({grpc::RESOURCE_EXHAUSTED, "big"}).verdict, Verdict::kRetryOrSplit);
}

TEST(Judge, HonoursRetryInfo) {
  google::rpc::RetryInfo info;
  info.mutable_retry_delay()->set_seconds(2);
  info.mutable_retry_delay()->set_nanos(500'000'000);
  google::rpc::Status details;
  details.add_details()->PackFrom(info);

  const Delivery delivery =
      judge({grpc::RESOURCE_EXHAUSTED, "slow down", details.SerializeAsString()});

  EXPECT_EQ(delivery.verdict, Verdict::kRetry);
  EXPECT_EQ(delivery.retry_after, std::chrono::milliseconds(2500));
}

} // namespace
} // namespace controlplane::exporter
