#include "agent/event/record.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace agent::event {
namespace {

std::vector<std::byte> chunk_bytes(const chunk_record& record, std::string_view bytes) {
  std::vector<std::byte> raw(sizeof(record) + bytes.size());
  std::memcpy(raw.data(), &record, sizeof(record));
  std::memcpy(raw.data() + sizeof(record), bytes.data(), bytes.size());
  return raw;
}

chunk_record make_chunk() {
  chunk_record record{};
  record.header.kind = RECORD_RECEIVED;
  record.length = 100;
  record.captured_bytes = 5;
  record.tail_bytes = 3;
  return record;
}

TEST(Record, GivesTheBytesOfAChunkAndItsTail) {
  const auto raw = chunk_bytes(make_chunk(), "helloend and what lay there before");

  const auto record = decode(raw);

  ASSERT_TRUE(record.has_value());
  const auto& chunk = std::get<Chunk>(*record);
  EXPECT_TRUE(chunk.received);
  EXPECT_EQ(chunk.beginning, "hello");
  EXPECT_EQ(chunk.tail, "end");
  EXPECT_EQ(chunk.length, 100U);
}

TEST(Record, RefusesSizesThatLie) {
  auto record = make_chunk();
  EXPECT_FALSE(decode(chunk_bytes(record, "hell")));

  record.captured_bytes = 65535;
  EXPECT_FALSE(decode(chunk_bytes(record, "hello")));

  record = make_chunk();
  record.length = 7; // fewer than were captured
  EXPECT_FALSE(decode(chunk_bytes(record, "helloend")));

  record = make_chunk();
  record.header.flags = CHUNK_START;
  record.start.local.family_bytes = 17;
  EXPECT_FALSE(decode(chunk_bytes(record, "helloend")));

  panic_record panic{};
  panic.header.kind = RECORD_PANIC;
  panic.message.bytes = MESSAGE_BYTES_MAX + 1;
  EXPECT_FALSE(decode(std::as_bytes(std::span(&panic, 1))));

  dial_error_record dial{};
  dial.header.kind = RECORD_DIAL_ERROR;
  EXPECT_TRUE(decode(std::as_bytes(std::span(&dial, 1))));
  dial.path_bytes = DIAL_PATH_BYTES_MAX + 1;
  EXPECT_FALSE(decode(std::as_bytes(std::span(&dial, 1))));
  dial.path_bytes = 0;
  dial.cause = DIAL_TIMEOUT + 1;
  EXPECT_FALSE(decode(std::as_bytes(std::span(&dial, 1))));

  record_header unknown{};
  unknown.kind = 99;
  EXPECT_FALSE(decode(std::as_bytes(std::span(&unknown, 1))));
  EXPECT_FALSE(decode({}));
}

} // namespace
} // namespace agent::event
