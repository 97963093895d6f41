#include "tests/sonded/scoped_sonded.h"

#include "controlplane/identity/api_tokens.h"

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <regex>
#include <sstream>
#include <thread>

namespace sonded_fixture {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

constexpr std::chrono::seconds kStartTimeout{60};
constexpr std::chrono::milliseconds kPoll{10};

std::string read_all(const std::filesystem::path& path) {
  std::ifstream stream(path);
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

[[noreturn]] void give_up(const std::string& why, const std::string& log) {
  std::fprintf(stderr, "sonded fixture: %s\n%s\n", why.c_str(), log.c_str());
  std::abort();
}

tcp::socket connect(asio::io_context& io, uint16_t port) {
  tcp::socket socket(io);
  socket.connect({asio::ip::make_address("127.0.0.1"), port});
  return socket;
}

} // namespace

ScopedSonded::ScopedSonded(const std::vector<std::string>& further_flags)
    : pool_(database_.pool()) {
  std::string name = "/tmp/sonded-test-XXXXXX";
  if (!::mkdtemp(name.data())) give_up("mkdtemp", "");
  directory_ = name;
  ::chmod(directory_.c_str(), 0755);
  std::ofstream tokens(directory_ / "tokens");
  using controlplane::model::Role;
  for (auto [role_name, role] :
       {std::pair{"viewer", Role::kViewer}, {"operator", Role::kOperator}, {"admin", Role::kAdmin}})
    tokens << controlplane::identity::api_token_line(
        role_name, role, "token-of-" + std::string(role_name));
  tokens.close();
  launch(further_flags);
  wait_until_it_listens();
}

ScopedSonded::~ScopedSonded() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void ScopedSonded::launch(const std::vector<std::string>& further_flags) {
  std::vector<std::string> arguments{
      SONDED,         "--database-url",      database_.url(), "--state-dir", directory_ / "state",
      "--api-tokens", directory_ / "tokens", "--listen-grpc", "127.0.0.1:0", "--listen-rest",
      "127.0.0.1:0",  "--listen-metrics",    "127.0.0.1:0",   "--user",      "postgres"};
  arguments.insert(arguments.end(), further_flags.begin(), further_flags.end());
  std::vector<char*> words;
  for (auto& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  auto log_path = directory_ / "log";
  pid_ = ::fork();
  if (pid_ != 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int file = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  ::dup2(file, STDOUT_FILENO);
  ::dup2(file, STDERR_FILENO);
  ::execv(words[0], words.data());
  ::_exit(127);
}

void ScopedSonded::wait_until_it_listens() {
  static const std::regex kListening(
      R"(gRPC 127\.0\.0\.1:(\d+), REST https?://127\.0\.0\.1:(\d+), metrics http://127\.0\.0\.1:(\d+)/)");
  auto deadline = std::chrono::steady_clock::now() + kStartTimeout;
  std::smatch ports;
  std::string text = log();
  while (!std::regex_search(text, ports, kListening)) {
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) give_up("it ended", text);
    if (std::chrono::steady_clock::now() > deadline) give_up("it does not listen", text);
    std::this_thread::sleep_for(kPoll);
    text = log();
  }
  rest_port_ = static_cast<uint16_t>(std::stoi(ports[2]));
  metrics_port_ = static_cast<uint16_t>(std::stoi(ports[3]));
  grpc::SslCredentialsOptions tls;
  tls.pem_root_certs = read_all(directory_ / "state" / "ca.pem");
  channel_ = grpc::CreateChannel("127.0.0.1:" + ports[1].str(), grpc::SslCredentials(tls));
}

HttpAnswer ScopedSonded::request(
    uint16_t port, const std::string& verb, const std::string& target, const std::string& body,
    const std::map<std::string, std::string>& headers) const {
  asio::io_context io;
  auto socket = connect(io, port);
  http::request<http::string_body> message;
  message.method_string(verb);
  message.target(target);
  message.set(http::field::host, "127.0.0.1");
  message.set(http::field::connection, "close");
  for (const auto& [name, value] : headers) message.set(name, value);
  message.body() = body;
  message.prepare_payload();
  http::write(socket, message);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  http::read(socket, buffer, response);
  HttpAnswer answer{response.result_int(), {}, response.body()};
  for (const auto& field : response) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    answer.headers[name] = std::string(field.value());
  }
  return answer;
}

HttpAnswer ScopedSonded::rest(
    const std::string& verb, const std::string& target, const std::string& body,
    const std::string& role, const std::map<std::string, std::string>& headers) const {
  auto all = headers;
  if (!role.empty()) all.emplace("Authorization", bearer(role));
  if (!body.empty()) all.emplace("Content-Type", "application/json");
  return request(rest_port_, verb, target, body, all);
}

std::string ScopedSonded::raw(const std::string& bytes) const {
  asio::io_context io;
  auto socket = connect(io, rest_port_);
  boost::system::error_code error;
  asio::write(socket, asio::buffer(bytes), error); // it may have heard enough before the end
  std::string answer;
  asio::read(socket, asio::dynamic_buffer(answer), error);
  return answer;
}

HttpAnswer ScopedSonded::metrics() const {
  return request(metrics_port_, "GET", "/metrics", "", {});
}

size_t ScopedSonded::resident_bytes() const {
  std::ifstream statm("/proc/" + std::to_string(pid_) + "/statm");
  size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<size_t>(::sysconf(_SC_PAGESIZE));
}

std::string ScopedSonded::log() const { return read_all(directory_ / "log"); }

int ScopedSonded::stop() {
  ::kill(pid_, SIGTERM);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace sonded_fixture
