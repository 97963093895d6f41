#include "sdk-clients/cpp/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

namespace sonde {
namespace {

using testing::HasSubstr;

constexpr char kPem[] = "-----BEGIN CERTIFICATE-----\n";

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string pattern = testing::TempDir() + "sonde-config-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    variables_["HOME"] = folder_;
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    const auto path = folder_ + "/" + name;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
    return path;
  }
  base::Result<ClientConfig> load(const ConfigSource& flags, const std::string& file = {}) {
    return load_config(
        flags,
        [this](const char* name) -> std::optional<std::string> {
          const auto found = variables_.find(name);
          if (found == variables_.end()) return std::nullopt;
          return found->second;
        },
        file, folder_ + "/state");
  }

  std::string folder_;
  std::map<std::string, std::string> variables_;
};

TEST_F(ConfigTest, TakesFlagsOverEnvironmentOverFile) {
  write(".config/sonde/config.yaml", "server: file:1\ntoken: from-file\n");
  variables_["SONDE_SERVER"] = "environment:2";

  EXPECT_EQ(load({})->server, "environment:2");
  EXPECT_EQ(load({})->token, "from-file");
  EXPECT_EQ(load({.server = "flag:3"})->server, "flag:3");
}

TEST_F(ConfigTest, ATokenFileOnTheCommandLineBeatsATokenInTheEnvironment) {
  variables_["SONDE_TOKEN"] = "environment";
  const auto file = write("token", "flag \r\nsecond line\n");

  EXPECT_EQ(load({.server = "a:1", .token_file = file})->token, "flag");
}

TEST_F(ConfigTest, SaysWhatToDoWhenTheServerOrTheTokenIsMissing) {
  const auto no_server = load({.token = "t"});
  const auto no_token = load({.server = "a:1"});

  EXPECT_EQ(no_server.error().reason, "SERVER_MISSING");
  EXPECT_THAT(no_server.error().message, HasSubstr("--server"));
  EXPECT_EQ(no_token.error().reason, "TOKEN_MISSING");
  EXPECT_THAT(no_token.error().message, HasSubstr("SONDE_TOKEN"));
}

TEST_F(ConfigTest, RefusesAServerWithoutAPort) {
  for (const char* server :
       {"sonde.example", "sonde.example:", ":7443", "a:99999", "a:http", "a:0"})
    EXPECT_EQ(load({.server = server, .token = "t"}).error().reason, "SERVER_ADDRESS_INVALID")
        << server;
  EXPECT_TRUE(load({.server = "[::1]:7443", .token = "t"}).ok());
}

TEST_F(ConfigTest, FindsTheServerOfThisHostWhenNothingElseIsSaid) {
  write("state/ca.pem", kPem);
  write("state/admin.token", "admin\n");

  EXPECT_EQ(load({})->server, "127.0.0.1:7443");
  EXPECT_EQ(load({})->token, "admin");
  EXPECT_EQ(load({})->authorities, kPem);
  EXPECT_EQ(load({.server = "a:1", .token = "t"})->authorities, "");
}

TEST_F(ConfigTest, RefusesAnUnknownKeyAndAFileThatIsNoYaml) {
  const auto unknown = load({}, write("a.yaml", "sever: a:1\n"));
  const auto broken = load({}, write("b.yaml", "server: [\n"));

  EXPECT_EQ(unknown.error().reason, "CONFIG_FILE_INVALID");
  EXPECT_THAT(unknown.error().message, HasSubstr("\"sever\""));
  EXPECT_EQ(broken.error().reason, "CONFIG_FILE_INVALID");
}

TEST_F(ConfigTest, ReadsTheAuthorityAndNamesAFileThatIsNotThere) {
  const auto ca = write("ca.pem", kPem);
  const auto other = write("other", "root:x:0:0\n");

  EXPECT_EQ(load({.server = "a:1", .token = "t", .ca_file = ca})->authorities, kPem);
  EXPECT_EQ(load({.server = "a:1", .token = "t", .ca_file = other}).error().reason, "FILE_INVALID");
  const auto missing = load({.server = "a:1", .token = "t", .ca_file = folder_ + "/none.pem"});
  EXPECT_EQ(missing.error().reason, "FILE_UNREADABLE");
  EXPECT_THAT(missing.error().message, HasSubstr("none.pem"));
}

} // namespace
} // namespace sonde
