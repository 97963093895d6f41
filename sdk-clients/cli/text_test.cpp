#include "sdk-clients/cli/text.h"

#include <gtest/gtest.h>

namespace cli {
namespace {

using namespace std::chrono_literals;

TEST(Text, ReadsDurationsAsPeopleTypeThem) {
  EXPECT_EQ(*parse_duration("5m"), 5min);
  EXPECT_EQ(*parse_duration("1h30m"), 90min);
  EXPECT_EQ(*parse_duration("250ms"), 250ms);
  EXPECT_EQ(*parse_duration("0.1s"), 100ms);
  EXPECT_EQ(*parse_duration("300"), 300s);
}

TEST(Text, RefusesWhatIsNoDuration) {
  for (const char* text : {"", "five", "5x", "-5m", "m", "5m junk", "1e400h", "99999999999h"})
    EXPECT_EQ(parse_duration(text).error().reason, "USAGE") << text;
}

TEST(Text, WritesThreeDigitsThatMatter) {
  EXPECT_EQ(format_duration(870ns), "870 ns");
  EXPECT_EQ(format_duration(12'400ns), "12.4 µs");
  EXPECT_EQ(format_duration(8'070us), "8.07 ms");
  EXPECT_EQ(format_duration(999'900us), "1.00 s");
  EXPECT_EQ(format_duration(200s), "3m20s");
  EXPECT_EQ(format_bytes(47'395'635), "45.2 MiB");
}

TEST(Text, TellsAgesOfPastAndFuture) {
  google::protobuf::Timestamp time;
  time.set_seconds(1000);

  EXPECT_EQ(format_age(time, 1012s), "12s ago");
  EXPECT_EQ(format_age(time, 760s), "in 4m");
  EXPECT_EQ(format_age({}, 1000s), "-");
}

TEST(Text, CutsByColumnsAndDropsControlCharacters) {
  EXPECT_EQ(fit("grüße", 5), "grüße");
  EXPECT_EQ(fit("grüße", 4), "grü…");
  EXPECT_EQ(fit("a\x1b[31m\nb", 20), "a[31mb");
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
