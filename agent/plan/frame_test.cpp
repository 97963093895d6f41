#include "agent/plan/frame.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace agent::plan {
namespace {

std::vector<uint8_t> code(std::string hex) {
  std::erase(hex, ' ');
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// cmp rsp,[r14+16]; jbe; push rbp; mov rbp,rsp; sub rsp,0x10
const std::string kModern = "493b6610 7620 55 4889e5 4883ec10";
// cmp rsp,[r14+16]; jbe; sub rsp,0x50; mov [rsp+0x48],rbp; lea rbp,[rsp+0x48]
const std::string kOld = "493b6610 7620 4883ec50 48896c2448 488d6c2448";

TEST(Frame, KeepsArgumentsThatAreStoredWhereTheCallerLeftRoom) {
  EXPECT_TRUE(keeps_first_arguments(code(kModern + "4889442420 48895c2428")).ok());
  EXPECT_TRUE(keeps_first_arguments(code(kModern + "48895c2428 4889442420")).ok());
  EXPECT_TRUE(keeps_first_arguments(code(kOld + "4889442458 48895c2460")).ok());
}

TEST(Frame, DoesNotKeepWhatIsStoredElsewhereOrTooLate) {
  EXPECT_FALSE(keeps_first_arguments({}).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern)).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern + "4889442420")).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern + "4889442418 48895c2420")).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern + "4831db 4889442420 48895c2428")).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern + "e800000000 4889442420 48895c2428")).ok());
  EXPECT_FALSE(keeps_first_arguments(code(kModern + "7410 4889442420 48895c2428")).ok());
}

} // namespace
} // namespace agent::plan
