// Counting what may be more than an int64 can hold.
#ifndef SERVER_CORE_SATURATING_H_
#define SERVER_CORE_SATURATING_H_

#include <cstdint>
#include <limits>

namespace attention::core {

// Integer arithmetic that stays at the largest int64 instead of overflowing.
// REQUIRES: arguments >= 0.
constexpr int64_t SaturatingMultiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product)
             ? std::numeric_limits<int64_t>::max()
             : product;
}
constexpr int64_t SaturatingAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum)
             ? std::numeric_limits<int64_t>::max()
             : sum;
}

}  // namespace attention::core

#endif  // SERVER_CORE_SATURATING_H_
