#include "agent/telemetry/redact.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace agent::telemetry {
namespace {

// A longer name is compared by its first bytes.
constexpr size_t kNameBytesMax = 64;

constexpr std::array<std::string_view, 10> kSecretWords = {
    "password",      "passwd", "token",      "secret",    "apikey",
    "authorization", "cookie", "creditcard", "signature", "credential"};

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Lower case, percent-decoded, letters and digits only.
std::string_view normalize(std::string_view name, std::array<char, kNameBytesMax>& buffer) {
  size_t size = 0;
  for (size_t i = 0; i < name.size() && size < buffer.size(); ++i) {
    char c = name[i];
    if (c == '%' && i + 2 < name.size() && hex_digit(name[i + 1]) >= 0 &&
        hex_digit(name[i + 2]) >= 0) {
      c = static_cast<char>(hex_digit(name[i + 1]) * 16 + hex_digit(name[i + 2]));
      i += 2;
    }
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) buffer[size++] = c;
  }
  return {buffer.data(), size};
}

// The length of the valid UTF-8 character at `data`, 0 when there is none.
size_t character_length(const unsigned char* data, size_t size) {
  const unsigned char first = data[0];
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || size < length) return 0;
  for (size_t i = 1; i < length; ++i)
    if ((data[i] & 0xC0) != 0x80) return 0;
  if (first == 0xE0 && data[1] < 0xA0) return 0; // overlong
  if (first == 0xED && data[1] > 0x9F) return 0; // a surrogate
  if (first == 0xF0 && data[1] < 0x90) return 0; // overlong
  if (first == 0xF4 && data[1] > 0x8F) return 0; // beyond U+10FFFF
  return length;
}

// No byte above 0x7F and no NUL, eight at a time.
bool is_plain_ascii(const char* data, size_t size) {
  constexpr uint64_t kHigh = 0x8080808080808080, kOnes = 0x0101010101010101;
  uint64_t bad = 0;
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, 8);
    bad |= (word | (word - kOnes)) & kHigh;
  }
  for (; i < size; ++i) bad |= data[i] <= 0 ? kHigh : 0;
  return bad == 0;
}

} // namespace

bool is_secret_name(std::string_view name) {
  std::array<char, kNameBytesMax> buffer;
  const std::string_view plain = normalize(name, buffer);
  if (plain.size() < 3) return false;
  for (const std::string_view word : kSecretWords)
    if (plain.find(word) != std::string_view::npos) return true;
  // "ssn" stands in the middle of harmless words (className), "sig" in many.
  return plain == "sig" || plain.starts_with("ssn") || plain.ends_with("ssn") ||
         plain == "awsaccesskeyid";
}

void redact_query(std::string_view query, size_t bytes_max, std::string& out) {
  out.clear();
  while (!query.empty() && out.size() < bytes_max) {
    const size_t end = query.find_first_of("&;");
    const std::string_view pair = query.substr(0, end);
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos && is_secret_name(pair.substr(0, equals))) {
      out.append(pair.substr(0, equals + 1));
      out.append(kRedacted);
    } else {
      out.append(pair);
    }
    if (end == std::string_view::npos) break;
    out.push_back(query[end]);
    query.remove_prefix(end + 1);
  }
  if (out.size() > bytes_max) out.resize(bytes_max);
}

void make_text(char* data, size_t size) {
  if (is_plain_ascii(data, size)) return;
  auto* bytes = reinterpret_cast<unsigned char*>(data);
  for (size_t i = 0; i < size;) {
    if (bytes[i] != 0 && bytes[i] < 0x80) {
      ++i;
      continue;
    }
    const size_t length = character_length(bytes + i, size - i);
    if (length == 0) bytes[i] = '?';
    i += length == 0 ? 1 : length;
  }
}

} // namespace agent::telemetry
