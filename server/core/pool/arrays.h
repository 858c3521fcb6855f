// Arrays that lie one after the other in one piece of memory, measured by the
// code that takes them.
//
// A layout is a class whose constructor takes its arrays from its last
// argument, which is a Measure or a Carve:
//
//   template <typename T>
//   struct Rows {
//     template <typename Taker>
//     Rows(int64_t rows, int64_t columns, Taker& taker)
//         : packed(taker.template Take<T>(rows, columns)),
//           sums(taker.template Take<double>(rows)) {}
//     T* const packed;
//     double* const sums;
//   };
//
// so BytesOf<Rows<float>>(rows, columns) is what it takes, whatever is changed
// in it.
#ifndef SERVER_CORE_POOL_ARRAYS_H_
#define SERVER_CORE_POOL_ARRAYS_H_

#include <cstdint>

#include "server/core/saturating.h"

namespace attention::core {

// Every array starts at a multiple of so many bytes: a cache line, and the
// widest vector.
inline constexpr int64_t kArrayAlignment = 64;

// Bytes of an array with what lies unused behind it; saturating.
// REQUIRES: count >= 0, element_size > 0.
constexpr int64_t ArrayBytes(int64_t count, int64_t element_size) {
  const int64_t bytes = SaturatingMultiply(count, element_size);
  const int64_t unused = -bytes & (kArrayAlignment - 1);
  return SaturatingAdd(bytes, unused);
}

// Adds up what a layout takes; saturating. Its arrays are null.
class Measure {
 public:
  template <typename T>
  T* Take(int64_t rows, int64_t columns = 1) {
    bytes_ = SaturatingAdd(
        bytes_, ArrayBytes(SaturatingMultiply(rows, columns), sizeof(T)));
    return nullptr;
  }

  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

// Gives a layout its arrays, contents undefined.
class Carve {
 public:
  // REQUIRES: `memory` is aligned, and has what a Measure said.
  explicit Carve(void* memory) : next_(static_cast<char*>(memory)) {}

  template <typename T>
  T* Take(int64_t rows, int64_t columns = 1) {
    char* const array = next_;
    next_ += ArrayBytes(rows * columns, sizeof(T));
    return reinterpret_cast<T*>(array);
  }

 private:
  char* next_;
};

// Bytes that a Layout of these sizes takes; saturating.
template <typename Layout, typename... Sizes>
int64_t BytesOf(const Sizes&... sizes) {
  Measure measure;
  static_cast<void>(Layout(sizes..., measure));
  return measure.bytes();
}

}  // namespace attention::core

#endif  // SERVER_CORE_POOL_ARRAYS_H_
