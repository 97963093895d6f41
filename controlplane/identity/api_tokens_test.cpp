#include "controlplane/identity/api_tokens.h"
#include "controlplane/identity/permission.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace controlplane::identity {
namespace {

using model::Caller;
using model::Role;
using sonde::v1::Access;

Caller caller_with(Role role) {
  Caller caller;
  caller.role = role;
  caller.name = "ann";
  return caller;
}

TEST(ApiTokens, FindsTheCallerOfAKnownTokenOnly) {
  auto path = std::filesystem::temp_directory_path() / ("sonde-tokens-" + std::to_string(getpid()));
  auto token = new_api_token();
  std::ofstream(path) << "# people\n\n" << api_token_line("ann", Role::kOperator, token);

  auto tokens = ApiTokens::open(path);

  ASSERT_TRUE(tokens.ok());
  auto caller = (*tokens)->find(token);
  ASSERT_TRUE(caller.ok());
  EXPECT_EQ(caller->name, "ann");
  EXPECT_EQ(caller->role, Role::kOperator);
  EXPECT_EQ((*tokens)->find(token + "x").error().reason, "INVALID_TOKEN");
  std::filesystem::remove(path);
}

TEST(ApiTokens, NamesTheBadLine) {
  auto bad = parse_api_tokens("# comment\nann boss 00\n");

  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().reason, "INVALID_TOKEN_FILE");
  EXPECT_NE(bad.error().message.find("line 2"), std::string::npos);
  EXPECT_NE(bad.error().message.find("boss"), std::string::npos);
}

TEST(Permission, EachRoleMayDoWhatItsPermissionsSay) {
  EXPECT_TRUE(authorize(caller_with(Role::kViewer), Access::READ, "m").ok());
  EXPECT_FALSE(authorize(caller_with(Role::kViewer), Access::OPERATE, "m").ok());
  EXPECT_TRUE(authorize(caller_with(Role::kOperator), Access::OPERATE, "m").ok());
  EXPECT_FALSE(authorize(caller_with(Role::kOperator), Access::ADMINISTER, "m").ok());
  EXPECT_TRUE(authorize(caller_with(Role::kAdmin), Access::ADMINISTER, "m").ok());
  EXPECT_FALSE(authorize(caller_with(Role::kAdmin), Access::AGENT, "m").ok());
  EXPECT_TRUE(authorize(caller_with(Role::kAgent), Access::AGENT, "m").ok());
  EXPECT_FALSE(authorize(caller_with(Role::kAgent), Access::READ, "m").ok());
  EXPECT_TRUE(authorize(caller_with(Role::kNone), Access::PUBLIC, "m").ok());
}

TEST(Permission, IsDeniedToEverybodyWithoutAPermission) {
  for (auto role : {Role::kNone, Role::kViewer, Role::kOperator, Role::kAdmin, Role::kAgent})
    EXPECT_FALSE(authorize(caller_with(role), Access::PERMISSION_UNSPECIFIED, "m").ok());
}

TEST(Permission, SaysWhatIsMissing) {
  auto denied = authorize(caller_with(Role::kViewer), Access::OPERATE, "CreateSession");

  ASSERT_FALSE(denied.ok());
  EXPECT_EQ(denied.error().code, base::Code::kPermissionDenied);
  EXPECT_EQ(denied.error().reason, "PERMISSION_MISSING");
  EXPECT_NE(denied.error().message.find("OPERATE"), std::string::npos);
  EXPECT_NE(denied.error().message.find("ann has role viewer"), std::string::npos);
  EXPECT_EQ(
      authorize(caller_with(Role::kNone), Access::READ, "m").error().code,
      base::Code::kUnauthenticated);
}

} // namespace
} // namespace controlplane::identity
