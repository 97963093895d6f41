#include "sdk-clients/cli/trace_tree.h"

#include "base/hex.h"
#include "sdk-clients/cli/limits.h"
#include "sdk-clients/cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace cli {

using opentelemetry::proto::common::v1::AnyValue;
using opentelemetry::proto::common::v1::KeyValue;
using opentelemetry::proto::trace::v1::Status;
using OtlpSpan = opentelemetry::proto::trace::v1::Span;

namespace {

struct Node {
  const OtlpSpan* span = nullptr;
  std::string service;
  std::vector<size_t> children;
  bool orphan = false;
};

struct Line {
  const Node* node = nullptr;
  std::string name; // with the branches before it
};

struct Extent {
  uint64_t start = 0;
  uint64_t end = 0;
};

std::string text_of(const AnyValue& value) {
  if (value.has_int_value()) return fmt::to_string(value.int_value());
  return value.string_value();
}

std::string
attribute(const google::protobuf::RepeatedPtrField<KeyValue>& attributes, std::string_view key) {
  for (const auto& attribute : attributes)
    if (attribute.key() == key) return text_of(attribute.value());
  return "";
}

std::string title_of(const OtlpSpan& span) {
  return fit(
      span_title(
          span.name(), attribute(span.attributes(), "url.path"),
          attribute(span.attributes(), "url.full")),
      limits::kSpanTitleColumnsMax);
}

std::vector<Node> collect(const sonde::v1::Trace& trace) {
  std::vector<Node> nodes;
  for (const auto& resource : trace.resource_spans()) {
    const auto service = attribute(resource.resource().attributes(), "service.name");
    for (const auto& scope : resource.scope_spans())
      for (const auto& span : scope.spans()) nodes.push_back({&span, service, {}, false});
  }
  std::stable_sort(nodes.begin(), nodes.end(), [](const Node& a, const Node& b) {
    return a.span->start_time_unix_nano() < b.span->start_time_unix_nano();
  });
  return nodes;
}

// Links children to parents; answers the spans that have no parent here.
std::vector<size_t> link(std::vector<Node>& nodes) {
  std::map<std::string, size_t> by_id;
  for (size_t i = 0; i < nodes.size(); ++i) by_id.emplace(nodes[i].span->span_id(), i);
  std::vector<size_t> roots;
  for (size_t i = 0; i < nodes.size(); ++i) {
    const auto& parent = nodes[i].span->parent_span_id();
    const auto found = parent.empty() ? by_id.end() : by_id.find(parent);
    if (found != by_id.end() && found->second != i) {
      nodes[found->second].children.push_back(i);
      continue;
    }
    nodes[i].orphan = !parent.empty();
    roots.push_back(i);
  }
  return roots;
}

class Drawing {
 public:
  explicit Drawing(const std::vector<Node>& nodes) : nodes_(nodes) {}

  // A root and what hangs from it. No recursion: how deep a trace is, strangers decide.
  void draw(size_t root) {
    std::vector<Step> steps{{root, "", "", 0}};
    while (!steps.empty()) {
      const auto step = std::move(steps.back());
      steps.pop_back();
      if (!drawn_.insert(step.index).second) continue;
      const auto& node = nodes_[step.index];
      lines_.push_back(
          {&node, step.before + step.branch + (node.orphan ? "… " : "") + title_of(*node.span)});
      const bool flat = step.branch.empty() || step.depth >= limits::kTreeDepthMax;
      const auto inner = step.before + (flat ? "" : step.branch == kLast ? "   " : "│  ");
      for (size_t i = node.children.size(); i-- > 0;)
        steps.push_back(
            {node.children[i], inner, i + 1 == node.children.size() ? kLast : kMiddle,
             step.depth + 1});
    }
  }

  const std::vector<Line>& lines() const { return lines_; }
  bool has_drawn(size_t index) const { return drawn_.contains(index); }

 private:
  static constexpr const char* kLast = "└─ ";
  static constexpr const char* kMiddle = "├─ ";
  struct Step {
    size_t index;
    std::string before;
    std::string branch;
    size_t depth;
  };

  const std::vector<Node>& nodes_;
  std::vector<Line> lines_;
  std::set<size_t> drawn_;
};

Extent extent_of(const std::vector<Node>& nodes) {
  Extent extent{UINT64_MAX, 0};
  for (const auto& node : nodes) {
    extent.start = std::min<uint64_t>(extent.start, node.span->start_time_unix_nano());
    extent.end = std::max<uint64_t>(extent.end, node.span->end_time_unix_nano());
  }
  extent.end = std::max(extent.end, extent.start);
  return extent;
}

std::chrono::nanoseconds between(uint64_t start, uint64_t end) {
  return std::chrono::nanoseconds(end > start ? static_cast<int64_t>(end - start) : 0);
}

std::string bar(const OtlpSpan& span, const Extent& extent, size_t columns) {
  const auto total = static_cast<double>(std::max<uint64_t>(extent.end - extent.start, 1));
  const auto column = [&](uint64_t time) {
    const auto share = static_cast<double>(between(extent.start, time).count()) / total;
    return std::min(
        columns, static_cast<size_t>(std::lround(share * static_cast<double>(columns))));
  };
  const size_t begin = std::min(column(span.start_time_unix_nano()), columns - 1);
  const size_t end = std::max(column(span.end_time_unix_nano()), begin + 1);
  std::string text;
  for (size_t i = 0; i < begin; ++i) text += "·";
  for (size_t i = begin; i < end; ++i) text += "█";
  return text;
}

std::string outcome(const OtlpSpan& span) {
  auto text = attribute(span.attributes(), "http.response.status_code");
  const auto error = attribute(span.attributes(), "error.type");
  const auto own = attribute(span.attributes(), "sonde.outcome");
  if (!error.empty() && error != text) text += (text.empty() ? "" : " ") + error;
  if (!own.empty()) text += (text.empty() ? "" : " ") + own;
  if (text.empty() && span.status().code() == Status::STATUS_CODE_ERROR) text = "ERROR";
  return text.empty() ? "-" : text;
}

std::string kind_of(const OtlpSpan& span) {
  const auto name = OtlpSpan::SpanKind_Name(span.kind());
  constexpr std::string_view kPrefix = "SPAN_KIND_";
  return name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : "-";
}

size_t count_services(const std::vector<Node>& nodes) {
  std::set<std::string> services;
  for (const auto& node : nodes) services.insert(node.service);
  return services.size();
}

std::string left_out(const sonde::v1::Trace& trace, const std::string& trace_id) {
  if (trace.spans_left_out() == 0) return "";
  return fmt::format(
      "… the trace is cut: {} newer span{} left out; `sonde spans SESSION --filter 'trace_id = "
      "\"{}\"'` "
      "has them all\n",
      trace.spans_left_out(), trace.spans_left_out() == 1 ? "" : "s", trace_id);
}

} // namespace

std::string render_trace(const sonde::v1::Trace& trace, const Style& style) {
  auto nodes = collect(trace);
  if (nodes.empty()) return "The trace has no spans.\n";
  const auto roots = link(nodes);
  Drawing drawing(nodes);
  for (const auto root : roots) drawing.draw(root);
  // Spans that are their own ancestors hang from no root; they are shown all the same.
  for (size_t i = 0; i < nodes.size(); ++i)
    if (!drawing.has_drawn(i)) drawing.draw(i);

  const auto extent = extent_of(nodes);
  const size_t bar_columns =
      std::clamp(style.columns / 3, limits::kBarColumnsMin, limits::kBarColumnsMax);
  Table table(
      {"SERVICE", "SPAN", "KIND", "RESULT", "START", "DURATION", ""}, {"", "KIND", "START"});
  for (const auto& line : drawing.lines()) {
    const auto& span = *line.node->span;
    const bool failed = span.status().code() == Status::STATUS_CODE_ERROR;
    table.add(
        {{line.node->service, Tint::kBold},
         line.name,
         {kind_of(span), Tint::kDim},
         {outcome(span), failed ? Tint::kBad : Tint::kGood},
         "+" + format_duration(between(extent.start, span.start_time_unix_nano())),
         format_duration(between(span.start_time_unix_nano(), span.end_time_unix_nano())),
         {bar(span, extent, bar_columns), failed ? Tint::kBad : Tint::kNone}});
  }
  const auto services = count_services(nodes);
  const auto trace_id = base::to_hex(nodes.front().span->trace_id());
  return fmt::format(
             "trace {} · {} span{} · {} service{} · {}\n", trace_id, nodes.size(),
             nodes.size() == 1 ? "" : "s", services, services == 1 ? "" : "s",
             format_duration(between(extent.start, extent.end))) +
         table.render(style) + left_out(trace, trace_id);
}

} // namespace cli
