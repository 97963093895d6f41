#include "controlplane/model/page_token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace {

using namespace controlplane::model;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(PageToken, ComesBackAsItWas) {
  std::string token = encode_page_token({"2026-01-01", "", std::string("a\0b", 3)}, "filter");

  EXPECT_THAT(
      *decode_page_token(token, "filter", 3),
      ElementsAre("2026-01-01", "", std::string("a\0b", 3)));
  EXPECT_THAT(*decode_page_token("", "filter", 3), IsEmpty());
}

TEST(PageToken, IsGoodForOneQueryOnly) {
  std::string token = encode_page_token({"a"}, "state=ACTIVE");

  EXPECT_EQ(decode_page_token(token, "state=FAILED", 1).error().reason, "INVALID_PAGE_TOKEN");
  EXPECT_EQ(decode_page_token(token, "state=ACTIVE", 2).error().reason, "INVALID_PAGE_TOKEN");
}

TEST(PageToken, RefusesWhatIsNotAToken) {
  std::string token = encode_page_token({"abc"}, "");
  for (const std::string& bad :
       {std::string("xyz"), std::string("00"), token.substr(0, token.size() - 2), token + "00",
        std::string(10000, '0')})
    EXPECT_EQ(decode_page_token(bad, "", 1).error().reason, "INVALID_PAGE_TOKEN") << bad;
}

} // namespace
