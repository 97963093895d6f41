#include "agent/telemetry/redact.h"

#include <gtest/gtest.h>

namespace agent::telemetry {
namespace {

std::string redacted(std::string_view query, size_t bytes_max = 4096) {
  std::string out = "left from before";
  redact_query(query, bytes_max, out);
  return out;
}

TEST(Redact, ReplacesValuesUnderSecretNamesAndKeepsTheRest) {
  EXPECT_EQ(redacted("a=1&password=hunter2&b=%20x"), "a=1&password=REDACTED&b=%20x");
  EXPECT_EQ(redacted("access_token=abc"), "access_token=REDACTED");
  EXPECT_EQ(redacted("API-Key=abc;x=y"), "API-Key=REDACTED;x=y");
  EXPECT_EQ(redacted("client%5Fsecre%74=abc"), "client%5Fsecre%74=REDACTED");
  EXPECT_EQ(redacted("X-Amz-Signature=f00&X-Amz-Date=1"), "X-Amz-Signature=REDACTED&X-Amz-Date=1");
  EXPECT_EQ(redacted("sig=1&design=2"), "sig=REDACTED&design=2");
  EXPECT_EQ(redacted("user_ssn=1&className=2"), "user_ssn=REDACTED&className=2");
}

TEST(Redact, NamesEveryWordOfTheList) {
  for (const char* name :
       {"password", "token", "secret", "apikey", "authorization", "cookie", "ssn", "credit_card"})
    EXPECT_TRUE(is_secret_name(name)) << name;
  for (const char* name : {"page", "q", "session", "id", ""})
    EXPECT_FALSE(is_secret_name(name)) << name;
}

TEST(Redact, KeepsOddQueriesAsTheyAre) {
  EXPECT_EQ(redacted(""), "");
  EXPECT_EQ(redacted("password"), "password");
  EXPECT_EQ(redacted("&&=&"), "&&=&");
  EXPECT_EQ(redacted("token="), "token=REDACTED");
  EXPECT_EQ(redacted("%=1&%4=2&%zz=3"), "%=1&%4=2&%zz=3");
}

TEST(Redact, CutsWhatIsTooLong) { EXPECT_EQ(redacted("abcdef=1&x=2", 5), "abcde"); }

std::string as_text(std::string bytes) {
  make_text(bytes.data(), bytes.size());
  return bytes;
}

TEST(Redact, MakesTextOfAnyBytes) {
  EXPECT_EQ(as_text("plain ascii, longer than eight"), "plain ascii, longer than eight");
  EXPECT_EQ(
      as_text("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"),
      "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80");
  EXPECT_EQ(as_text("latin1 \xE9t\xE9"), "latin1 ?t?");
  EXPECT_EQ(as_text("cut off \xE2\x82"), "cut off ??");
  EXPECT_EQ(as_text(std::string("nul\0byte", 8)), "nul?byte");
  EXPECT_EQ(as_text("overlong \xC0\xAF surrogate \xED\xA0\x80"), "overlong ?? surrogate ???");
}

} // namespace
} // namespace agent::telemetry
