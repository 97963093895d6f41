#include "controlplane/edge/call_metrics.h"

#include "google/rpc/code.pb.h"

#include <fmt/format.h>

#include <iterator>

namespace controlplane::edge {
namespace {

std::string escaped(std::string_view value) {
  std::string text;
  for (char c : value) {
    if (c == '\\' || c == '"') text += '\\';
    if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text;
}

} // namespace

void MetricsWriter::family(std::string_view name, std::string_view type, std::string_view help) {
  name_ = name;
  fmt::format_to(std::back_inserter(text_), "# HELP {} {}\n# TYPE {} {}\n", name, help, name, type);
}

void MetricsWriter::sample(const Labels& labels, double value, std::string_view suffix) {
  text_ += name_;
  text_ += suffix;
  char separator = '{';
  for (const auto& [name, text] : labels) {
    fmt::format_to(std::back_inserter(text_), "{}{}=\"{}\"", separator, name, escaped(text));
    separator = ',';
  }
  fmt::format_to(std::back_inserter(text_), "{} {}\n", labels.empty() ? "" : "}", value);
}

std::string MetricsPage::render() const {
  MetricsWriter writer;
  for (const auto& collect : collectors_) collect(writer);
  return writer.take();
}

void CallMetrics::record(
    std::string_view method, std::string_view transport, base::Code code,
    std::chrono::nanoseconds duration) {
  auto seconds = std::chrono::duration<double>(duration).count();
  auto code_name = google::rpc::Code_Name(static_cast<google::rpc::Code>(code));
  std::lock_guard lock(mutex_);
  ++calls_[{std::string(method), std::string(transport), code_name}];
  auto& durations = durations_[std::string(method)];
  ++durations.count;
  durations.sum_seconds += seconds;
  for (size_t i = 0; i < kBucketSeconds.size(); ++i) {
    if (seconds <= kBucketSeconds[i]) ++durations.buckets[i];
  }
}

void CallMetrics::refused(std::string_view reason) {
  std::lock_guard lock(mutex_);
  ++refused_[std::string(reason)];
}

void CallMetrics::write(MetricsWriter& writer) const {
  std::lock_guard lock(mutex_);
  writer.family("sonde_edge_calls_total", "counter", "Calls of the API, by how they ended.");
  for (const auto& [key, count] : calls_)
    writer.sample(
        {{"method", key[0]}, {"transport", key[1]}, {"code", key[2]}}, static_cast<double>(count));
  writer.family("sonde_edge_call_duration_seconds", "histogram", "How long calls of the API took.");
  for (const auto& [method, durations] : durations_) {
    for (size_t i = 0; i < kBucketSeconds.size(); ++i)
      writer.sample(
          {{"method", method}, {"le", fmt::format("{}", kBucketSeconds[i])}},
          static_cast<double>(durations.buckets[i]), "_bucket");
    writer.sample(
        {{"method", method}, {"le", "+Inf"}}, static_cast<double>(durations.count), "_bucket");
    writer.sample({{"method", method}}, durations.sum_seconds, "_sum");
    writer.sample({{"method", method}}, static_cast<double>(durations.count), "_count");
  }
  writer.family(
      "sonde_edge_refused_total", "counter",
      "What was refused before it became a call, by reason.");
  for (const auto& [reason, count] : refused_)
    writer.sample({{"reason", reason}}, static_cast<double>(count));
}

} // namespace controlplane::edge
