#include "agent/plan/site.h"

#include "base/hex.h"

#include <gtest/gtest.h>

namespace agent::plan {
namespace {

std::vector<uint8_t> code(std::string_view hex) {
  std::string compact;
  for (char c : hex)
    if (c != ' ') compact += c;
  auto bytes = base::from_hex(compact);
  EXPECT_TRUE(bytes.ok()) << hex;
  return {bytes->begin(), bytes->end()};
}

base::Result<Site> find(const std::vector<uint8_t>& bytes, SingleStep step = SingleStep::kRefuse) {
  return find_site(bytes, bytes.size(), step);
}

// cmp rsp,[r14+16]; jbe; push rbp; mov rbp,rsp; sub rsp,0x18; ret
TEST(Site, IsThePushBehindTheStackCheckFromGo121On) {
  auto site = find(code("493b6610 7620 55 4889e5 4883ec18 c3"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kPush);
  EXPECT_EQ(site->offset_bytes, 6U);
  EXPECT_FALSE(site->filter_by_flags);
  EXPECT_EQ(site->prologue, code("493b6610 7620 55"));
}

// cmp rsp,[r14+16]; jbe near; sub rsp,0x50; mov [rsp+0x48],rbp
TEST(Site, IsTheBranchOfTheStackCheckBeforeGo121AndFiltersByFlags) {
  auto site = find(code("493b6610 0f8607010000 4883ec50 48896c2448"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kStackCheck);
  EXPECT_EQ(site->offset_bytes, 4U);
  EXPECT_TRUE(site->filter_by_flags);
}

// lea r12,[rsp-0x70]; cmp r12,[r14+16]; jbe near; push rbp
TEST(Site, KnowsTheCheckOfALargeFrame) {
  auto site = find(code("4c8d642490 4d3b6610 0f8600020000 55 4889e5"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kPush);
  EXPECT_EQ(site->offset_bytes, 15U);
}

// mov r12,rsp; sub r12,0x11000; jb; cmp r12,[r14+16]; jbe; push rbp
TEST(Site, PassesTheWrapCheckOfAHugeFrame) {
  auto site = find(code("4989e4 4981ec00100100 0f8240010000 4d3b6610 0f8636010000 55"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kPush);
  EXPECT_EQ(site->offset_bytes, 26U);
}

TEST(Site, IsTheBranchOfAHugeFrameBeforeGo121) {
  auto site = find(code("4989e4 4981ec00100100 0f8240010000 4d3b6610 0f8636010000 4881ec50100100"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kStackCheck);
  EXPECT_EQ(site->offset_bytes, 20U);
}

// push rbp; mov rbp,rsp (nosplit)
TEST(Site, IsTheEntryWhenAFunctionWithoutStackCheckPushesAtOnce) {
  auto site = find(code("55 4889e5 4883ec10"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->offset_bytes, 0U);
}

// mov rcx,rax (an argument moves); push rbp
TEST(Site, IsRefusedBehindAnInstructionThatMovesAnArgument) {
  auto site = find(code("4889c1 55 4889e5"));

  ASSERT_FALSE(site.ok());
  EXPECT_EQ(site.error().reason, "NO_SITE");
}

// xor ecx,ecx is a write to the whole of rcx
TEST(Site, SeesThatTheLowHalfOfARegisterIsTheRegister) {
  EXPECT_FALSE(find(code("31c9 55 c3")).ok());
}

// test rax,rax; je +1; ret; ret: a leaf
TEST(Site, IsTheFirstBranchOfALeaf) {
  auto site = find(code("4885c0 7401 c3 c3"));

  ASSERT_TRUE(site.ok()) << site.error().message;
  EXPECT_EQ(site->kind, SiteKind::kBranch);
  EXPECT_EQ(site->offset_bytes, 3U);
  EXPECT_FALSE(site->filter_by_flags);
}

// test rax,rax; je +2; jmp back to the test; ret
TEST(Site, IsRefusedWhereALoopComesBack) { EXPECT_FALSE(find(code("4885c0 7402 ebf9 c3")).ok()); }

TEST(Site, IsRefusedWhereTheRestOfTheFunctionIsNotKnown) {
  EXPECT_FALSE(find_site(code("4885c0 7401 c3 c3"), 200).ok());
  EXPECT_TRUE(find_site(code("493b6610 7620 55"), 200).ok());
}

// test rax,rax; je +1; ret; then a byte that is no instruction in 64-bit code
TEST(Site, IsRefusedWhenTheFunctionDoesNotDecodeToItsEnd) {
  EXPECT_FALSE(find(code("4885c0 7401 c3 06")).ok());
}

// jbe with an operand-size prefix, push with a segment prefix, lock: none of them may carry a probe
TEST(Site, IsNeverAnInstructionWithAPrefix) {
  EXPECT_FALSE(find(code("493b6610 66 0f8600010000 4883ec50")).ok());
  EXPECT_FALSE(find(code("2e 55 4889e5")).ok());
  EXPECT_FALSE(find(code("f0 48ff00 c3")).ok());
}

// ff /6 pushes memory: the same mnemonic, but single-stepped
TEST(Site, IsNoPushThatTheKernelDoesNotEmulate) { EXPECT_FALSE(find(code("ff7008 c3")).ok()); }

TEST(Site, IsSingleSteppedOnlyWhenAsked) {
  auto refused = find(code("4889c8 c3"));
  auto allowed = find(code("4889c8 c3"), SingleStep::kAllow);

  EXPECT_FALSE(refused.ok());
  ASSERT_TRUE(allowed.ok());
  EXPECT_EQ(allowed->kind, SiteKind::kSingleStep);
  EXPECT_EQ(allowed->offset_bytes, 0U);
}

TEST(Site, IsRefusedInCodeThatEndsTooEarly) {
  EXPECT_FALSE(find({}).ok());
  EXPECT_FALSE(find(code("493b66")).ok());
  EXPECT_FALSE(find(code("493b6610")).ok());
}

TEST(Site, HoldsOnlyOverTheVeryBytesItWasFoundIn) {
  auto bytes = code("493b6610 7620 55 4889e5");
  auto site = find(bytes);
  ASSERT_TRUE(site.ok());
  auto patched = bytes;
  patched[6] = 0xcc;

  EXPECT_TRUE(still_holds(*site, bytes));
  EXPECT_FALSE(still_holds(*site, patched));
  EXPECT_FALSE(still_holds(*site, std::span(bytes).first(6)));
}

} // namespace
} // namespace agent::plan
