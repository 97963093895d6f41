#include "agent/event/unread.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <map>

namespace agent::event {
namespace {

constexpr uint64_t kTimeoutType = 0x1000, kOpErrorType = 0x2000, kErrnoType = 0x3000,
                   kTextType = 0x4000, kDnsErrorType = 0x5000, kOtherType = 0x6000;
constexpr uint64_t kErrOfOpError = 64, kLateOfDnsError = 48;

// A process whose memory holds a few things.
class Memory {
 public:
  Memory() {
    for (const uint64_t type : {kTimeoutType, kOpErrorType, kErrnoType, kDnsErrorType, kOtherType})
      put<uint8_t>(type + 23, 25); // a struct
    put<uint8_t>(kTextType + 23, 24 | 32);
  }
  template <class T> void put(uint64_t address, T value) {
    for (size_t i = 0; i < sizeof(T); ++i)
      bytes_[address + i] = reinterpret_cast<const uint8_t*>(&value)[i];
  }
  // Returns the itab of an error of that type.
  uint64_t put_itab(uint64_t type) {
    next_ += 64;
    put(next_ + 8, type);
    return next_;
  }
  void put_string(uint64_t header_at, std::string_view text) {
    next_ += 512;
    put(header_at, next_);
    put(header_at + 8, uint64_t{text.size()});
    for (size_t i = 0; i < text.size(); ++i) put(next_ + i, text[i]);
  }
  ReadMemory reader() const {
    return [this](uint64_t address, void* out, size_t bytes) {
      for (size_t i = 0; i < bytes; ++i) {
        const auto found = bytes_.find(address + i);
        if (found == bytes_.end()) return false;
        static_cast<uint8_t*>(out)[i] = found->second;
      }
      return true;
    };
  }

 private:
  std::map<uint64_t, uint8_t> bytes_;
  uint64_t next_ = 0x100000;
};

unread_error unread(uint64_t itab, uint64_t data) {
  unread_error error{};
  error.itab = itab;
  error.data = data;
  error.timeout_types[0] = kTimeoutType;
  error.dial.op_error_type = kOpErrorType;
  error.dial.op_error_err = kErrOfOpError;
  error.dial.errno_type = kErrnoType;
  error.dial.dns_error_type = kDnsErrorType;
  error.dial.dns_error_is_timeout = kLateOfDnsError;
  return error;
}

class UnreadTest : public testing::Test {
 protected:
  DialError read_dial_error(uint64_t type, uint64_t data) {
    DialError error{.unread = unread(memory.put_itab(type), data)};
    read_unread(error, memory.reader(), text);
    return error;
  }
  Memory memory;
  std::string text;
};

TEST_F(UnreadTest, ADeadlineIsKnownByItsType) {
  EXPECT_EQ(read_dial_error(kTimeoutType, 0).cause, DIAL_TIMEOUT);

  CallError call{.unread = unread(memory.put_itab(kTimeoutType), 0)};
  read_unread(call, memory.reader(), text);
  EXPECT_TRUE(call.timed_out);
}

TEST_F(UnreadTest, TheErrorInsideIsTheCause) {
  constexpr uint64_t kOpError = 0x9000, kNumber = 0x9900;
  memory.put(kOpError + kErrOfOpError, memory.put_itab(kErrnoType));
  memory.put(kOpError + kErrOfOpError + 8, kNumber);
  memory.put(kNumber, uint64_t{ECONNREFUSED});

  const auto error = read_dial_error(kOpErrorType, kOpError);

  EXPECT_EQ(error.cause, DIAL_ERRNO);
  EXPECT_EQ(error.error, ECONNREFUSED);
}

TEST_F(UnreadTest, ANameThatDoesNotResolveSaysWhy) {
  constexpr uint64_t kDnsError = 0x9000;
  memory.put_string(kDnsError, "no such host");
  memory.put<uint8_t>(kDnsError + kLateOfDnsError, 0);

  auto error = read_dial_error(kDnsErrorType, kDnsError);
  EXPECT_EQ(error.cause, DIAL_NAME);
  EXPECT_EQ(error.message, "no such host");

  memory.put<uint8_t>(kDnsError + kLateOfDnsError, 1);
  EXPECT_EQ(read_dial_error(kDnsErrorType, kDnsError).cause, DIAL_TIMEOUT);
}

TEST_F(UnreadTest, StringsAndErrorsThatBeginWithOneSpeak) {
  constexpr uint64_t kValue = 0x9000;
  memory.put_string(kValue, "context canceled");
  EXPECT_EQ(read_dial_error(kTextType, kValue).message, "context canceled");
  EXPECT_EQ(read_dial_error(kOtherType, kValue).message, "");

  Panic panic{.unread_type = kTextType, .unread_value = kValue};
  read_unread(panic, memory.reader(), text);
  EXPECT_EQ(panic.message, "context canceled");

  Panic other{.unread_type = kOtherType, .unread_value = kValue};
  read_unread(other, memory.reader(), text);
  EXPECT_EQ(other.message, "");

  CallError constant{.message_at = kValue};
  read_unread(constant, memory.reader(), text);
  EXPECT_EQ(constant.message, "context canceled");
}

TEST_F(UnreadTest, OfAProcessThatIsGoneStandsWhatTheKernelTold) {
  DialError error{.cause = DIAL_ERRNO, .error = ENETUNREACH, .unread = unread(0x42, 0x43)};
  CallError call{.timed_out = true, .unread = unread(0x42, 0x43)};
  Panic panic{.message_at = 0x44, .unread_type = 0x45, .unread_value = 0x46};

  read_unread(error, memory.reader(), text);
  read_unread(call, memory.reader(), text);
  read_unread(panic, memory.reader(), text);

  EXPECT_EQ(error.cause, DIAL_ERRNO);
  EXPECT_EQ(error.error, ENETUNREACH);
  EXPECT_TRUE(call.timed_out);
  EXPECT_EQ(panic.message, "");
}

TEST_F(UnreadTest, ErrorsThatWrapThemselvesEnd) {
  constexpr uint64_t kOpError = 0x9000;
  memory.put(kOpError + kErrOfOpError, memory.put_itab(kOpErrorType));
  memory.put(kOpError + kErrOfOpError + 8, kOpError);

  EXPECT_EQ(read_dial_error(kOpErrorType, kOpError).cause, DIAL_OTHER);
}

} // namespace
} // namespace agent::event
