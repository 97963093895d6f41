// A line with verb and target, then the body, into the request of whatever RPC it reaches: must
// never crash, and what it accepts must survive being written as JSON and read again.
#include "base/check.h"
#include "controlplane/edge/json_reader.h"
#include "controlplane/edge/json_writer.h"
#include "controlplane/edge/transcoder.h"
#include "sonde/v1/agent_service.pb.h"
#include "sonde/v1/join_token_service.pb.h"
#include "sonde/v1/offset_table_service.pb.h"
#include "sonde/v1/result_service.pb.h"
#include "sonde/v1/sampling_rule_service.pb.h"
#include "sonde/v1/session_service.pb.h"

#include <google/protobuf/util/message_differencer.h>

#include <cstdint>
#include <string_view>

namespace {

using namespace controlplane::edge; // NOLINT(google-build-using-namespace): what is fuzzed

const MethodTable& methods() {
  static const auto* table = new MethodTable(
      MethodTable::from(
          {sonde::v1::GetAgentRequest::descriptor()->file(),
           sonde::v1::JoinToken::descriptor()->file(), sonde::v1::OffsetTable::descriptor()->file(),
           sonde::v1::Span::descriptor()->file(), sonde::v1::SamplingRule::descriptor()->file(),
           sonde::v1::GetSessionRequest::descriptor()->file()})
          .value());
  return *table;
}

void check_round_trip(const google::protobuf::Message& request) {
  auto text = write_json(request);
  if (!text) return; // a duration beyond what JSON can say, for example
  std::unique_ptr<google::protobuf::Message> again(request.New());
  CHECK(read_json(*text, *again).ok());
  google::protobuf::util::MessageDifferencer differencer;
  differencer.set_message_field_comparison(google::protobuf::util::MessageDifferencer::EQUIVALENT);
  google::protobuf::util::DefaultFieldComparator comparator;
  comparator.set_treat_nan_as_equal(true);
  differencer.set_field_comparator(&comparator);
  CHECK(differencer.Compare(request, *again));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  auto line = input.substr(0, input.find('\n'));
  auto body = line.size() < input.size() ? input.substr(line.size() + 1) : std::string_view();
  auto space = line.find(' ');
  if (space == std::string_view::npos) return 0;
  auto target = line.substr(space + 1);
  auto path = target.substr(0, target.find('?'));
  auto query = path.size() < target.size() ? target.substr(path.size() + 1) : std::string_view();
  auto route = methods().route(line.substr(0, space), path);
  if (!route) return 0;
  auto request = to_request(*route, query, body);
  if (request)
    check_round_trip(**request);
  else
    CHECK(!request.error().reason.empty());
  return 0;
}
