#include "sdk-clients/cli/text.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(Text, ReadsDurationsAsPeopleTypeThem) {
  EXPECT_EQ(*parse_duration("5m"), minutes(5));
  EXPECT_EQ(*parse_duration("1h30m"), minutes(90));
  EXPECT_EQ(*parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(*parse_duration("0.1s"), milliseconds(100));
  EXPECT_EQ(*parse_duration("300"), seconds(300));
}

TEST(Text, RefusesWhatIsNoDuration) {
  for (const char* text : {"", "five", "5x", "-5m", "m", "5m junk", "1e400h", "99999999999h"})
    EXPECT_EQ(parse_duration(text).error().reason, "USAGE") << text;
}

TEST(Text, WritesThreeDigitsThatMatter) {
  EXPECT_EQ(format_duration(nanoseconds(870)), "870 ns");
  EXPECT_EQ(format_duration(nanoseconds(12'400)), "12.4 µs");
  EXPECT_EQ(format_duration(std::chrono::microseconds(8'070)), "8.07 ms");
  EXPECT_EQ(format_duration(std::chrono::microseconds(999'900)), "1.00 s");
  EXPECT_EQ(format_duration(seconds(200)), "3m20s");
  EXPECT_EQ(format_bytes(47'395'635), "45.2 MiB");
}

TEST(Text, TellsAgesOfPastAndFuture) {
  google::protobuf::Timestamp time;
  time.set_seconds(1000);

  EXPECT_EQ(format_age(time, seconds(1012)), "12s ago");
  EXPECT_EQ(format_age(time, seconds(760)), "in 4m");
  EXPECT_EQ(format_age({}, seconds(1000)), "-");
}

TEST(Text, CutsByColumnsAndDropsControlCharacters) {
  EXPECT_EQ(fit("grüße", 5), "grüße");
  EXPECT_EQ(fit("grüße", 4), "grü…");
  EXPECT_EQ(fit("a\x1b[31m\nb", 20), "a[31mb");
}

TEST(Text, ASpanNamedByItsMethodSaysWhereItWent) {
  EXPECT_EQ(span_title("GET", "/cart/7", ""), "GET /cart/7");
  EXPECT_EQ(span_title("GET", "", "http://shop:8080/cart?item=tea"), "GET shop:8080/cart");
  EXPECT_EQ(span_title("GET /cart/{id}", "/cart/7", ""), "GET /cart/{id}");
  EXPECT_EQ(span_title("main.work", "", ""), "main.work");
}

TEST(Text, SuggestsTheNearestWordOrNone) {
  const std::vector<std::string> known = {"session", "tail", "trace", "--probe"};

  EXPECT_EQ(nearest("sesion", known), "session");
  EXPECT_EQ(nearest("--prob", known), "--probe");
  EXPECT_EQ(nearest("sess", known), "session");
  EXPECT_EQ(nearest("kubernetes", known), "");
}

} // namespace
} // namespace cli
