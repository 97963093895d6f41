#include "agent/plan/facts.h"

#include "agent/plan/names.h"

#include <limits>
#include <optional>

namespace agent::plan {
namespace {

base::Error
missing(const process::BinaryInfo& binary, std::string_view name, std::string_view reason) {
  std::string detail = std::string(name) + " is not known of this binary";
  if (const auto* why = binary.find_missing(name)) {
    reason = why->reason;
    detail = std::string(name) + ": " + why->detail;
  }
  return base::failed_precondition(reason, std::move(detail));
}

// "go1.26.8 X:nogreenteagc" is go1.26.8 to a table.
bool is_for(const sonde::v1::OffsetTable& table, const process::BinaryInfo& binary) {
  return table.module().empty() && table.architecture() == name_of(binary.architecture) &&
         table.go_version() == binary.go_version_text.substr(0, binary.go_version_text.find(' '));
}

struct TableFact {
  uint64_t offset = 0;
  std::string table_id;
};

std::optional<TableFact>
table_fact(const DesiredState& desired, const process::BinaryInfo& binary, std::string_view name) {
  for (const auto& [id, table] : desired.offset_tables) {
    if (!is_for(table, binary)) continue;
    for (const auto& field : table.fields())
      if (field.type() + "." + field.field() == name) return TableFact{field.offset_bytes(), id};
  }
  return std::nullopt;
}

using sonde::v1::AssignmentStatus;

bool contradicts(const sonde::v1::OffsetTable::Field& field, const process::Field& own) {
  return field.offset_bytes() != own.offset ||
         (field.size_bytes() != 0 && own.size != 0 && field.size_bytes() != own.size);
}

AssignmentStatus contradicted(
    const sonde::v1::OffsetTable::Field& field, const process::Field& own,
    const process::BinaryInfo& binary) {
  AssignmentStatus status;
  status.set_state(AssignmentStatus::REJECTED);
  status.set_reason(sonde::v1::Reason::LAYOUT_CONFLICT);
  std::string detail = field.type() + "." + field.field() + ": " + binary.main_package +
                       " (binary " + binary.binary_hash.substr(0, 12) + ") has it at offset " +
                       std::to_string(own.offset) + ", the table at " +
                       std::to_string(field.offset_bytes());
  if (field.offset_bytes() == own.offset)
    detail += ", but with " + std::to_string(own.size) + " bytes, not " +
              std::to_string(field.size_bytes());
  status.set_detail(std::move(detail));
  return status;
}

} // namespace

AssignmentStatus check_table(
    const sonde::v1::OffsetTable& table,
    const std::vector<std::shared_ptr<const process::BinaryInfo>>& binaries) {
  AssignmentStatus status;
  status.set_state(AssignmentStatus::SKIPPED);
  status.set_detail("no program here has a field of this table");
  for (const auto& binary : binaries) {
    if (!is_for(table, *binary)) continue;
    for (const auto& field : table.fields()) {
      const auto* own = binary->find_field(field.type() + "." + field.field());
      if (own == nullptr) continue;
      if (contradicts(field, *own)) return contradicted(field, *own, *binary);
      status.set_state(AssignmentStatus::ACTIVE);
      status.clear_detail();
    }
  }
  return status;
}

process::FactRequest all_facts() {
  process::FactRequest request;
  request.functions = {kGopanic,      kRoundTrip,      kMapRoundTripError,
                       kQueueForDial, kWantConnCancel, kTransportRoundTrip};
  request.fields = {
      kGStackLo,
      kGStackHi,
      kGM,
      kGGoid,
      kGParentGoid,
      kMCurg,
      kPersistConnConn,
      kPersistConnCanceledErr,
      kTcpConnFd,
      kNetFdSysfd,
      kRequestMethod,
      kRequestUrl,
      kUrlScheme,
      kUrlOpaque,
      kUrlHost,
      kUrlPath,
      kUrlRawPath,
      kUrlRawQuery,
      kOpErrorErr,
      kSyscallErrorErr,
      kDnsErrorErr,
      kDnsErrorIsTimeout};
  request.types = {kTcpConnType, kOpErrorType, kSyscallErrorType, kErrnoType, kDnsErrorType};
  request.types.insert(request.types.end(), kMessageTypes.begin(), kMessageTypes.end());
  request.types.insert(request.types.end(), kTimeoutTypes.begin(), kTimeoutTypes.end());
  return request;
}

base::Result<uint16_t> Facts::offset(std::string_view field) const {
  const auto* own = binary_.find_field(field);
  const auto table = table_fact(desired_, binary_, field);
  if (own != nullptr && table && table->offset != own->offset)
    return base::failed_precondition(
        "LAYOUT_CONFLICT", std::string(field) + ": the binary says offset " +
                               std::to_string(own->offset) + ", offset table " + table->table_id +
                               " says " + std::to_string(table->offset));
  const auto* why = binary_.find_missing(field);
  const bool conflicts = why != nullptr && why->reason == "LAYOUT_CONFLICT";
  if (own == nullptr && (!table || conflicts)) return missing(binary_, field, "LAYOUT_MISSING");
  const uint64_t offset = own != nullptr ? own->offset : table->offset;
  if (offset > std::numeric_limits<uint16_t>::max())
    return base::failed_precondition(
        "LAYOUT_CONFLICT", std::string(field) + " lies beyond any struct that is known");
  return static_cast<uint16_t>(offset);
}

base::Result<const process::Function*> Facts::function(std::string_view name) const {
  const auto* found = binary_.find_function(name);
  if (found == nullptr) return missing(binary_, name, "SYMBOL_NOT_FOUND");
  return found;
}

base::Result<uint64_t> Facts::type_address(std::string_view name) const {
  const auto* found = binary_.find_type(name);
  if (found == nullptr) return missing(binary_, name, "LAYOUT_MISSING");
  return found->address;
}

} // namespace agent::plan
