#include "agent/event/unread.h"

#include <algorithm>
#include <optional>

namespace agent::event {
namespace {

// Of Go: an itab's second word is the type; internal/abi.Type has its kind in Kind_.
constexpr uint64_t kTypeOfItab = 8;
constexpr uint64_t kKindOfType = 23;
constexpr uint8_t kKindMask = 31;
constexpr uint8_t kKindString = 24;

struct Interface {
  uint64_t itab;
  uint64_t data;
};

template <class T> std::optional<T> read_value(const ReadMemory& read, uint64_t address) {
  T value{};
  if (!read(address, &value, sizeof(value))) return std::nullopt;
  return value;
}

// Empty when it cannot be read.
std::string read_string(const ReadMemory& read, uint64_t header_at) {
  struct Header {
    uint64_t address;
    uint64_t length;
  };
  const auto header = read_value<Header>(read, header_at);
  if (!header) return {};
  std::string text(std::min<uint64_t>(header->length, MESSAGE_BYTES_MAX), '\0');
  if (!read(header->address, text.data(), text.size())) return {};
  return text;
}

bool is_string(const ReadMemory& read, uint64_t type) {
  const auto kind = read_value<uint8_t>(read, type + kKindOfType);
  return kind && (*kind & kKindMask) == kKindString;
}

template <size_t N> bool contains(const __u64 (&types)[N], uint64_t type) {
  return std::find(std::begin(types), std::end(types), type) != std::end(types);
}

// An error as the programs in bpf/ would have told it.
class UnreadError {
 public:
  UnreadError(const unread_error& unread, const ReadMemory& read)
      : unread_(unread), read_(read), error_{unread.itab, unread.data}, type_(type_of(error_)) {
    unwrap();
  }

  bool known() const { return type_ != 0; }
  bool timed_out() const { return known() && contains(unread_.timeout_types, type_); }
  std::string message() const {
    if (is(unread_.dial.dns_error_type))
      return read_string(read_, error_.data + unread_.dial.dns_error_err);
    const bool speaks = contains(unread_.message_types, type_) || is_string(read_, type_);
    return speaks ? read_string(read_, error_.data) : std::string{};
  }
  void tell_cause(DialError& error) const {
    error.error = 0;
    error.cause = timed_out() ? DIAL_TIMEOUT : DIAL_OTHER;
    if (is(unread_.dial.dns_error_type)) {
      const auto late = read_value<uint8_t>(read_, error_.data + unread_.dial.dns_error_is_timeout);
      error.cause = late.value_or(0) != 0 ? DIAL_TIMEOUT : DIAL_NAME;
    } else if (is(unread_.dial.errno_type)) {
      const auto number = read_value<uint64_t>(read_, error_.data);
      if (!number) return;
      error.cause = DIAL_ERRNO;
      error.error = static_cast<int>(*number);
    }
  }

 private:
  bool is(uint64_t type) const { return type != 0 && type == type_; }
  uint64_t type_of(const Interface& value) const {
    return read_value<uint64_t>(read_, value.itab + kTypeOfItab).value_or(0);
  }
  void unwrap() {
    for (int i = 0; i < WRAPPED_ERRORS_MAX; ++i) {
      uint64_t inner = 0;
      if (is(unread_.dial.op_error_type)) inner = error_.data + unread_.dial.op_error_err;
      if (is(unread_.dial.syscall_error_type)) inner = error_.data + unread_.dial.syscall_error_err;
      const auto value = inner != 0 ? read_value<Interface>(read_, inner) : std::nullopt;
      if (!value || value->itab == 0) return;
      error_ = *value;
      type_ = type_of(error_);
    }
  }

  const unread_error& unread_;
  const ReadMemory& read_;
  Interface error_;
  uint64_t type_;
};

// Of a value whose type was known: only its string was not in memory.
template <class Told> void read_message(Told& told, const ReadMemory& read, std::string& text) {
  if (told.message_at == 0) return;
  text = read_string(read, told.message_at);
  told.message = text;
}

} // namespace

void read_unread(Panic& panic, const ReadMemory& read, std::string& text) {
  read_message(panic, read, text);
  if (panic.unread_type == 0 || !is_string(read, panic.unread_type)) return;
  text = read_string(read, panic.unread_value);
  panic.message = text;
}

void read_unread(CallError& error, const ReadMemory& read, std::string& text) {
  read_message(error, read, text);
  if (!error.unread) return;
  const UnreadError unread(*error.unread, read);
  if (!unread.known()) return;
  error.timed_out = unread.timed_out();
  text = unread.message();
  error.message = text;
}

void read_unread(DialError& error, const ReadMemory& read, std::string& text) {
  read_message(error, read, text);
  if (!error.unread) return;
  const UnreadError unread(*error.unread, read);
  if (!unread.known()) return;
  unread.tell_cause(error);
  text = unread.message();
  error.message = text;
}

} // namespace agent::event
