// Trace and span ids: unique, not secret.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

namespace agent::event {

// xoshiro256**, https://prng.di.unimi.it. Not thread-safe; the same seed gives the same ids.
class RandomIds {
 public:
  explicit RandomIds(uint64_t seed) {
    for (auto& word : state_) word = split_mix(seed);
  }

  // Never all zero.
  std::array<uint8_t, 8> span_id() { return std::bit_cast<std::array<uint8_t, 8>>(next() | 1); }

  // The last 7 bytes are the randomness that sampling went by, as trace context level 2 has it.
  std::array<uint8_t, 16> trace_id(uint64_t randomness) {
    std::array<uint8_t, 16> id{};
    const uint64_t high = next(), low = next();
    std::memcpy(id.data(), &high, 8);
    id[8] = static_cast<uint8_t>(low | 1);
    for (int i = 0; i < 7; ++i) id[15 - i] = static_cast<uint8_t>(randomness >> (8 * i));
    return id;
  }

 private:
  static uint64_t split_mix(uint64_t& seed) {
    uint64_t z = (seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9, t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  std::array<uint64_t, 4> state_{};
};

} // namespace agent::event
