#include "agent/app/config.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace agent::app {
namespace {

class ConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "sonde-config-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    file = pattern + "/agent.yaml";
  }
  void TearDown() override {
    std::filesystem::remove_all(std::filesystem::path(file).parent_path());
    for (const auto* name : {"SONDE_SERVER", "SONDE_STATE_DIR", "SONDE_JOIN_TOKEN"}) unsetenv(name);
  }
  static Invocation parse(std::vector<const char*> words) {
    words.insert(words.begin(), "sonde-agent");
    return parse_command_line(static_cast<int>(words.size()), words.data());
  }
  std::string file;
};

TEST_F(ConfigTest, TakesFlagsOverEnvironmentOverFileOverDefault) {
  std::ofstream(file)
      << "server: [file:1]\nstate-dir: /file\nlog-level: debug\nhostname: from-file\n";
  setenv("SONDE_SERVER", "environment:1", 1);
  setenv("SONDE_STATE_DIR", "/environment", 1);

  auto parsed = parse({"--config", file.c_str(), "--server", "flag:1"});

  ASSERT_TRUE(parsed.config);
  EXPECT_EQ(parsed.config->servers, std::vector<std::string>{"flag:1"});
  EXPECT_EQ(parsed.config->state_dir, "/environment");
  EXPECT_EQ(parsed.config->log_level, "debug");
  EXPECT_EQ(parsed.config->hostname, "from-file");
  EXPECT_TRUE(parsed.config->policy_file.empty());
}

TEST_F(ConfigTest, TakesLabelsFromFlagsAndFile) {
  std::ofstream(file) << "server: a:1\nlabel: {rack: r7}\n";

  auto from_file = parse({"-c", file.c_str()});
  auto from_flags = parse({"-s", "a:1", "-l", "rack=r8", "-l", "team=shop"});

  ASSERT_TRUE(from_file.config && from_flags.config);
  EXPECT_EQ(from_file.config->labels, (std::map<std::string, std::string>{{"rack", "r7"}}));
  EXPECT_EQ(from_flags.config->labels.size(), 2U);
}

TEST_F(ConfigTest, StandsBackByDefaultAndNeverComesForward) {
  std::ofstream(file) << "server: a:1\nnice: 3\n";

  EXPECT_EQ(parse({"-s", "a:1"}).config->nice, kNiceDefault);
  EXPECT_EQ(parse({"-c", file.c_str()}).config->nice, 3);
  EXPECT_EQ(parse({"-c", file.c_str(), "--nice", "0"}).config->nice, 0);
  EXPECT_EQ(parse({"-s", "a:1", "--nice", "-5"}).exit_code, 2);
  EXPECT_EQ(parse({"-s", "a:1", "--nice", "20"}).exit_code, 2);
}

TEST_F(ConfigTest, ReadsAJoinTokenFromTheEnvironmentOnly) {
  setenv("SONDE_JOIN_TOKEN", "secret", 1);

  auto parsed = parse({"-s", "a:1"});

  ASSERT_TRUE(parsed.config);
  EXPECT_EQ(parsed.config->join_token, "secret");
  EXPECT_EQ(parse({"-s", "a:1", "--join-token", "x"}).exit_code, 2);
}

TEST_F(ConfigTest, EndsWithTwoOnAMistake) {
  std::ofstream(file) << "server: a:1\nsever: b:1\n";

  EXPECT_EQ(parse({}).exit_code, 2);
  EXPECT_EQ(parse({"-s", "a:1", "--no-such-flag"}).exit_code, 2);
  EXPECT_EQ(parse({"-s", "a:1", "-l", "nolabel"}).exit_code, 2);
  EXPECT_EQ(parse({"-s", "a:1", "--log-level", "loud"}).exit_code, 2);
  EXPECT_EQ(parse({"-c", file.c_str()}).exit_code, 2);
  EXPECT_EQ(parse({"-c", "/no/such/file"}).exit_code, 2);
}

TEST_F(ConfigTest, EndsWithZeroAfterHelp) {
  auto parsed = parse({"--help"});

  EXPECT_FALSE(parsed.config);
  EXPECT_EQ(parsed.exit_code, 0);
}

} // namespace
} // namespace agent::app
