// The float types a tensor's bytes may hold, and arithmetic types made of them.
#ifndef PROTO_ELEMENTS_H_
#define PROTO_ELEMENTS_H_

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "proto/half.h"

namespace attention {

static_assert(std::endian::native == std::endian::little,
              "elements are used as they lie in a message: little-endian");

// One element of the 16-bit types as it lies in memory; those of FLOAT32 and
// FLOAT64 are float and double.
struct Float16 {
  uint16_t bits;
};
struct Bfloat16 {
  uint16_t bits;
};

// `element` in T, float or double. Exact but from double to float, which rounds
// to nearest even, to infinity beyond the range.
template <typename T, typename Element>
T Widen(Element element) {
  if constexpr (std::is_same_v<Element, Float16>) {
    return Float16ToFloat(element.bits);
  } else if constexpr (std::is_same_v<Element, Bfloat16>) {
    return Bfloat16ToFloat(element.bits);
  } else {
    return static_cast<T>(element);
  }
}

// `number` rounded once to nearest even; infinity where Element does not reach.
template <typename Element, typename T>
Element RoundTo(T number) {
  if constexpr (std::is_same_v<Element, Float16>) {
    return {ToFloat16(number)};
  } else if constexpr (std::is_same_v<Element, Bfloat16>) {
    return {ToBfloat16(number)};
  } else {
    return static_cast<Element>(number);
  }
}

// Widens `count` elements that lie at any address, aligned or not.
template <typename Element, typename T>
void WidenBytes(const char* bytes, int64_t count, T* out) {
  if constexpr (std::is_same_v<Element, T>) {
    std::memcpy(out, bytes, static_cast<size_t>(count) * sizeof(T));
  } else {
    for (int64_t i = 0; i < count; ++i) {
      Element element;
      std::memcpy(&element, bytes + i * static_cast<int64_t>(sizeof(Element)),
                  sizeof(Element));
      out[i] = Widen<T>(element);
    }
  }
}

// Calls `visitor` with a value of the element type that `dtype` stands for.
// `dtype` is a number of the contract's DataType: 1 FLOAT32, 2 FLOAT64,
// 3 FLOAT16, 4 BFLOAT16. REQUIRES: one of these.
template <typename Visitor>
void VisitFloat(int dtype, Visitor visitor) {
  switch (dtype) {
    case 1:
      return visitor(float{});
    case 2:
      return visitor(double{});
    case 3:
      return visitor(Float16{});
    case 4:
      return visitor(Bfloat16{});
    default:
      assert(false);
  }
}

}  // namespace attention

#endif  // PROTO_ELEMENTS_H_
