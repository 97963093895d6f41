#include "controlplane/edge/method_table.h"

#include "google/api/annotations.pb.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace controlplane::edge {
namespace {

namespace pb = google::protobuf;

std::pair<std::string, std::string> verb_and_path(const google::api::HttpRule& rule) {
  switch (rule.pattern_case()) {
  case google::api::HttpRule::kGet:
    return {"GET", rule.get()};
  case google::api::HttpRule::kPut:
    return {"PUT", rule.put()};
  case google::api::HttpRule::kPost:
    return {"POST", rule.post()};
  case google::api::HttpRule::kDelete:
    return {"DELETE", rule.delete_()};
  case google::api::HttpRule::kPatch:
    return {"PATCH", rule.patch()};
  case google::api::HttpRule::kCustom:
    return {rule.custom().kind(), rule.custom().path()};
  default:
    return {"", ""};
  }
}

base::Result<HttpBinding> binding_of(const google::api::HttpRule& rule) {
  auto [verb, path] = verb_and_path(rule);
  return HttpBinding{verb, TRY(PathTemplate::parse(path)), rule.body(), rule.response_body()};
}

base::Result<Method> method_of(const pb::MethodDescriptor& descriptor) {
  auto* factory = pb::MessageFactory::generated_factory();
  Method method{
      &descriptor,
      fmt::format("/{}/{}", descriptor.service()->full_name(), descriptor.name()),
      descriptor.options().GetExtension(sonde::v1::permission),
      {},
      factory->GetPrototype(descriptor.input_type()),
      factory->GetPrototype(descriptor.output_type())};
  if (!descriptor.options().HasExtension(google::api::http)) return method;
  const auto& rule = descriptor.options().GetExtension(google::api::http);
  method.bindings.push_back(TRY(binding_of(rule)));
  for (const auto& additional : rule.additional_bindings())
    method.bindings.push_back(TRY(binding_of(additional)));
  return method;
}

} // namespace

base::Result<MethodTable> MethodTable::from(const std::vector<const pb::FileDescriptor*>& files) {
  MethodTable table;
  for (const auto* file : std::set(files.begin(), files.end())) {
    for (int s = 0; s < file->service_count(); ++s) {
      for (int m = 0; m < file->service(s)->method_count(); ++m) {
        const auto* method = file->service(s)->method(m);
        table.methods_.push_back(TRY(method_of(*method).context(method->full_name())));
      }
    }
  }
  std::sort(table.methods_.begin(), table.methods_.end(), [](const Method& a, const Method& b) {
    return a.grpc_path < b.grpc_path;
  });
  return table;
}

const Method* MethodTable::find(std::string_view grpc_path) const {
  auto found = std::lower_bound(
      methods_.begin(), methods_.end(), grpc_path,
      [](const Method& method, std::string_view path) { return method.grpc_path < path; });
  return found != methods_.end() && found->grpc_path == grpc_path ? &*found : nullptr;
}

base::Result<MethodTable::Route>
MethodTable::route(std::string_view http_verb, std::string_view path) const {
  auto parsed = TRY(parse_path(path));
  Route best{nullptr, nullptr, {}};
  bool other_verb = false;
  for (const auto& method : methods_) {
    for (const auto& binding : method.bindings) {
      auto captures = binding.path.match(parsed);
      if (!captures) continue;
      if (binding.verb != http_verb) {
        other_verb = true;
      } else if (!best.binding || binding.path.literals() > best.binding->path.literals()) {
        best = {&method, &binding, std::move(*captures)};
      }
    }
  }
  if (best.method) return best;
  if (other_verb) {
    return base::Error{
        base::Code::kUnimplemented,
        "METHOD_NOT_ALLOWED",
        fmt::format("{} has no {}; it has {}", path, http_verb, allowed(path)),
        {}};
  }
  return base::not_found(
      "NO_SUCH_PATH", fmt::format("{} is no path of this API; see /openapi.json", path));
}

std::string MethodTable::allowed(std::string_view path) const {
  auto parsed = parse_path(path);
  std::set<std::string> verbs;
  for (const auto& method : methods_) {
    for (const auto& binding : method.bindings) {
      if (parsed && binding.path.match(*parsed)) verbs.insert(binding.verb);
    }
  }
  return fmt::format("{}", fmt::join(verbs, ", "));
}

} // namespace controlplane::edge
