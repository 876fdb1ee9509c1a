// Random numbers that are the same on every machine and with every standard library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace zaya::gym {

// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection whose output bits all depend on all input bits.
constexpr uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

// FNV-1a, then mixed, so that every bit is fit for a modulus.
constexpr uint64_t hash64(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return mix64(hash);
}

// SplitMix64.
class Rng {
 public:
  explicit Rng(uint64_t seed) : state_(seed) {}

  uint64_t next() { return mix64(state_ += 0x9e3779b97f4a7c15u); }

  // 0 … n-1, each equally likely; 0 for n = 0.
  uint64_t below(uint64_t n) {
    if (n < 2) return 0;
    const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t value = next();
    while (value >= limit) value = next();
    return value % n;
  }

  // low … high, both included; low when high < low.
  int64_t between(int64_t low, int64_t high) {
    return high <= low ? low : low + static_cast<int64_t>(below(static_cast<uint64_t>(high - low) + 1));
  }
  int small(int low, int high) { return static_cast<int>(between(low, high)); }
  bool chance(int one_in) { return below(static_cast<uint64_t>(one_in)) == 0; }
  bool coin() { return (next() >> 63) != 0; }

  template <typename List>
  const auto& pick(const List& list) {
    return list[static_cast<size_t>(below(std::size(list)))];
  }

  template <typename T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[static_cast<size_t>(below(i))]);
  }

 private:
  uint64_t state_;
};

}  // namespace zaya::gym
