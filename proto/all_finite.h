// Whether numbers are finite, as fast as they can be read.
#ifndef PROTO_ALL_FINITE_H_
#define PROTO_ALL_FINITE_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace attention {

// An integer as wide as T. Truths about many numbers are collected in one, and
// without an early exit: so the loop vectorises.
template <typename T>
using Truths = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// Whether all of `numbers` are finite.
template <typename T>
bool AllFinite(const T* numbers, int64_t count) {
  Truths<T> all = 1;
  for (int64_t i = 0; i < count; ++i) {
    all &= static_cast<Truths<T>>(std::abs(numbers[i]) <
                                  std::numeric_limits<T>::infinity());
  }
  return all != 0;
}

// Whether all of `numbers` are finite or -inf.
template <typename T>
bool AllFiniteOrMinusInf(const T* numbers, int64_t count) {
  Truths<T> all = 1;
  for (int64_t i = 0; i < count; ++i) {
    all &=
        static_cast<Truths<T>>(numbers[i] < std::numeric_limits<T>::infinity());
  }
  return all != 0;
}

}  // namespace attention

#endif  // PROTO_ALL_FINITE_H_
