#include "controlplane/app/settings.h"

#include "controlplane/app/first_start.h"
#include "controlplane/app/preflight.h"
#include "controlplane/identity/api_tokens.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace controlplane::app {
namespace {

using Action = CommandLine::Action;
using testing::HasSubstr;

CommandLine read(std::vector<const char*> words) {
  words.insert(words.begin(), "sonded");
  return read_command_line(static_cast<int>(words.size()), words.data());
}

class SettingsTest : public testing::Test {
 protected:
  SettingsTest() {
    std::string name = "/tmp/sonded-settings-XXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~SettingsTest() override {
    ::unsetenv("SONDE_STATE_DIR");
    std::filesystem::remove_all(directory_);
  }
  std::string file(const std::string& text) {
    auto path = directory_ / "sonded.yaml";
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path directory_;
};

TEST_F(SettingsTest, FlagsWinOverEnvironmentOverFileOverDefaults) {
  auto config = file("state-dir: /file\nlog-level: debug\nworkers: 3\n");
  ::setenv("SONDE_STATE_DIR", "/environment", 1);

  auto from_file = read({"--config", config.c_str()}).settings;
  auto from_flags = read({"--config", config.c_str(), "--state-dir", "/flag"}).settings;

  EXPECT_EQ(from_file.state_dir, "/environment");
  EXPECT_EQ(from_file.log_level, "debug");
  EXPECT_EQ(from_file.workers, 3U);
  EXPECT_EQ(from_flags.state_dir, "/flag");
  EXPECT_EQ(read({}).settings.log_level, "info");
  EXPECT_EQ(read({}).settings.keep_audit_days, 400);
  EXPECT_EQ(read({"--keep-sessions-days", "90"}).settings.keep_sessions_days, 90);
  EXPECT_EQ(read({"--keep-results-days", "0"}).action, Action::kFail);
}

TEST_F(SettingsTest, UnderstandsAddressesAndDestinations) {
  auto config = file("otlp: [a=one:4317, b=two:4317]\n");

  auto settings = read({"--listen-grpc", "[::1]:0", "--config", config.c_str()}).settings;

  EXPECT_EQ(settings.grpc.address, "::1");
  EXPECT_EQ(settings.grpc.port, 0);
  EXPECT_EQ(settings.otlp_destinations.at("a"), "one:4317");
  EXPECT_EQ(settings.otlp_destinations.size(), 2U);
}

TEST_F(SettingsTest, RefusesTokensInPlaintextOnTheNetwork) {
  auto line = read({"--listen-rest", "0.0.0.0:7480", "--rest-tls", "off"});

  EXPECT_EQ(line.action, Action::kFail);
  EXPECT_THAT(line.text, HasSubstr("only a loopback address may be without TLS"));
  EXPECT_EQ(read({"--listen-rest", "0.0.0.0:7480"}).action, Action::kServe);
}

TEST(Preflight, FindsAnAddressThatIsTaken) {
  boost::asio::io_context context;
  boost::asio::ip::tcp::acceptor taken(context, {boost::asio::ip::make_address("127.0.0.1"), 0});
  Settings settings;
  settings.grpc = settings.rest = settings.metrics = {"127.0.0.1", 0};
  EXPECT_TRUE(check_before_start(settings, {}).ok());

  settings.rest.port = taken.local_endpoint().port();

  auto checked = check_before_start(settings, {});
  EXPECT_EQ(checked.error().reason, "ADDRESS_NOT_AVAILABLE");
  EXPECT_THAT(checked.error().message, HasSubstr("--listen-rest"));
}

TEST(Preflight, FindsACertificateThatIsNone) {
  Settings settings;
  settings.grpc = settings.rest = settings.metrics = {"127.0.0.1", 0};
  Secrets secrets;
  secrets.tls_certificate_pem = "not a certificate";

  EXPECT_EQ(check_before_start(settings, secrets).error().reason, "INVALID_SETTING");
}

TEST_F(SettingsTest, SaysWhatIsWrong) {
  for (auto [flag, value, expected] : std::vector<std::array<const char*, 3>>{
           {"--listen-rest", "localhost:80", "ADDRESS:PORT"},
           {"--listen-rest", "127.0.0.1:99999", "ADDRESS:PORT"},
           {"--otlp", "collector:4317", "NAME=HOST:PORT"},
           {"--rest-tls", "maybe", "auto, on or off"},
           {"--listen-metrics", "0.0.0.0:7490", "a loopback address"},
           {"--listen-metrics", "127.0.0.1:7480", "another port"},
           {"--listen-rest", "127.0.0.1:7443", "another port"},
           {"--otlp", "a=b", "NAME=HOST:PORT"},
           {"--log-level", "loud", "trace, debug"},
           {"--workers", "0", "workers"},
           {"--colour", "red", "--colour"},
           {"--tls-key", "/x", "--tls-key"}}) {
    auto line = read({flag, value});
    EXPECT_EQ(line.action, Action::kFail) << flag << " " << value;
    EXPECT_THAT(line.text, HasSubstr(expected));
  }
  EXPECT_THAT(
      read({"--config", file("colour: red\n").c_str()}).text, HasSubstr("unknown key \"colour\""));
  EXPECT_THAT(read({"--config", file("workers: many\n").c_str()}).text, HasSubstr("workers"));
  EXPECT_EQ(read({"--config", "/does/not/exist"}).action, Action::kFail);
}

TEST_F(SettingsTest, PrintsTheConfigurationWithoutPasswords) {
  auto url = read({"--print-config", "--database-url", "postgresql://sonde:secret@db/sonde"});
  auto words = read({"--print-config", "--database-url", "host=db password=secret user=sonde"});

  EXPECT_EQ(url.action, Action::kPrint);
  EXPECT_THAT(url.text, HasSubstr("postgresql://sonde:***@db/sonde"));
  EXPECT_THAT(url.text, HasSubstr("listen-grpc: 127.0.0.1:7443"));
  EXPECT_THAT(words.text, HasSubstr("password=*** user=sonde"));
}

TEST_F(SettingsTest, TheHelpTeaches) {
  auto help = read({"--help"});

  EXPECT_EQ(help.action, Action::kPrint);
  EXPECT_THAT(help.text, HasSubstr("SONDE_STATE_DIR"));
  EXPECT_THAT(help.text, HasSubstr("Examples:"));
}

TEST_F(SettingsTest, TheFirstStartMakesAnAdministratorsTokenOnce) {
  auto tokens = make_api_tokens(directory_);
  auto again = make_api_tokens(directory_);

  ASSERT_TRUE(tokens.ok() && again.ok());
  std::string token;
  std::ifstream(directory_ / kAdminTokenFile) >> token;
  auto opened = identity::ApiTokens::open(*tokens);
  ASSERT_TRUE(opened.ok());
  EXPECT_EQ((*opened)->find(token)->role, model::Role::kAdmin);
  struct stat status {};
  ASSERT_EQ(::stat((directory_ / kAdminTokenFile).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

} // namespace
} // namespace controlplane::app
