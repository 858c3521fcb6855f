// The two 16-bit float formats as bits.
//
// float16 is IEEE 754 binary16: 5 exponent bits, 10 stored bits of significand,
// subnormals; largest finite number 65504. bfloat16 is the upper half of a
// binary32: 8 and 7 bits. Widening is exact. Narrowing rounds once, from float
// or double, to nearest, ties to even; what would round beyond the largest
// finite number becomes infinity (from 65520 on for float16), and a NaN becomes
// the quiet NaN of its sign. All functions are pure.
#ifndef PROTO_HALF_H_
#define PROTO_HALF_H_

#include <bit>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace attention {
namespace half_internal {

template <typename T>
using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// T is float or double.
template <typename T>
inline constexpr int kSignificandBits = std::numeric_limits<T>::digits - 1;
template <typename T>
inline constexpr int kExponentBias = std::numeric_limits<T>::max_exponent - 1;

// 2^exponent. REQUIRES: it is a normal number of T.
template <typename T>
constexpr T PowerOfTwo(int exponent) {
  return std::bit_cast<T>(static_cast<Bits<T>>(exponent + kExponentBias<T>)
                          << kSignificandBits<T>);
}

// Rounds `number` to the format of 16 bits with these exponent and significand
// bits. Without branches once compiled, so that loops over it vectorise.
template <int kExponent, int kSignificand, typename T>
constexpr uint16_t Narrow(T number) {
  using Word = Bits<T>;
  constexpr int kBias = (1 << (kExponent - 1)) - 1;
  constexpr int kDropped = kSignificandBits<T> - kSignificand;
  constexpr Word kSign = Word{1} << (8 * sizeof(T) - 1);
  constexpr Word kInfinity =
      std::bit_cast<Word>(std::numeric_limits<T>::infinity());
  constexpr Word kSmallestNormal =
      std::bit_cast<Word>(PowerOfTwo<T>(1 - kBias));
  constexpr Word kBeyond = static_cast<Word>(kBias + 1 + kExponentBias<T>)
                           << kSignificandBits<T>;
  constexpr uint32_t kNarrowInfinity = ((1u << kExponent) - 1) << kSignificand;
  constexpr uint32_t kNarrowNan = kNarrowInfinity | (1u << (kSignificand - 1));

  const Word bits = std::bit_cast<Word>(number);
  const Word magnitude = bits & ~kSign;

  // Normal: moves the exponent to the other bias and adds just under half of
  // what is dropped, or exactly half if the last kept bit is odd. A carry out
  // of the significand raises the exponent, up to infinity, as it should.
  constexpr Word kRebias = static_cast<Word>(kExponentBias<T> - kBias)
                           << kSignificandBits<T>;
  const Word odd = (magnitude >> kDropped) & 1;
  const Word rounded =
      magnitude - kRebias + ((Word{1} << (kDropped - 1)) - 1) + odd;
  const auto normal = static_cast<uint32_t>(rounded >> kDropped);

  // Subnormal: next to a number whose last bit is worth the smallest subnormal,
  // the addition itself rounds to nearest even.
  constexpr T kAnchor =
      PowerOfTwo<T>(1 - kBias - kSignificand + kSignificandBits<T>);
  const T small =
      magnitude < kSmallestNormal ? std::bit_cast<T>(magnitude) : T{0};
  const auto subnormal = static_cast<uint32_t>(
      std::bit_cast<Word>(small + kAnchor) - std::bit_cast<Word>(kAnchor));

  uint32_t narrow = magnitude < kSmallestNormal ? subnormal : normal;
  narrow = magnitude >= kBeyond ? kNarrowInfinity : narrow;
  narrow = magnitude > kInfinity ? kNarrowNan : narrow;
  const auto sign =
      static_cast<uint32_t>(bits >> (8 * sizeof(T) - 16)) & 0x8000u;
  return static_cast<uint16_t>(sign | narrow);
}

}  // namespace half_internal

// T is float or double.
template <typename T>
constexpr uint16_t ToFloat16(T number) {
  return half_internal::Narrow<5, 10>(number);
}

template <typename T>
constexpr uint16_t ToBfloat16(T number) {
  return half_internal::Narrow<8, 7>(number);
}

constexpr float Bfloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

constexpr float Float16ToFloat(uint16_t bits) {
  constexpr uint32_t kRebias = (127 - 15) << 23;
  constexpr auto kSmallestNormal = half_internal::PowerOfTwo<float>(-14);
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t magnitude = bits & 0x7fffu;

  // Subnormal m is m * 2^-24, which is (1 + m/1024) * 2^-14 less 2^-14.
  const auto above = std::bit_cast<float>(
      (magnitude << 13) + std::bit_cast<uint32_t>(kSmallestNormal));
  const auto subnormal = std::bit_cast<uint32_t>(above - kSmallestNormal);

  uint32_t wide = (magnitude << 13) + kRebias;
  wide = magnitude < 0x0400u ? subnormal : wide;
  wide = magnitude >= 0x7c00u ? wide + kRebias : wide;  // infinity and NaN
  return std::bit_cast<float>(sign | wide);
}

}  // namespace attention

#endif  // PROTO_HALF_H_
