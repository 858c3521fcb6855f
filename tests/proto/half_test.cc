#include "proto/half.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace attention {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A 16-bit format by the definition of IEEE 754: sign, exponent, significand.
struct Format {
  int exponent_bits;
  int significand_bits;
};
constexpr Format kFloat16{5, 10};
constexpr Format kBfloat16{8, 7};

double ByDefinition(const Format& format, uint16_t bits) {
  const int bias = (1 << (format.exponent_bits - 1)) - 1;
  const int significand = bits & ((1 << format.significand_bits) - 1);
  const int exponent = (bits & 0x7fff) >> format.significand_bits;
  const double sign = bits & 0x8000 ? -1 : 1;
  if (exponent == (1 << format.exponent_bits) - 1) {
    return significand == 0 ? sign * kInfinity
                            : std::numeric_limits<double>::quiet_NaN();
  }
  const double fraction =
      std::ldexp(static_cast<double>(significand), -format.significand_bits);
  return exponent == 0 ? sign * std::ldexp(fraction, 1 - bias)
                       : sign * std::ldexp(1 + fraction, exponent - bias);
}

// The magnitudes of a format from 0 to its largest, by their bits.
std::vector<double> Magnitudes(const Format& format) {
  std::vector<double> magnitudes;
  for (uint16_t bits = 0; std::isfinite(ByDefinition(format, bits)); ++bits) {
    magnitudes.push_back(ByDefinition(format, bits));
  }
  return magnitudes;
}

// Round to nearest, ties to even, by comparing distances in the list of all
// numbers. Differences of neighbours and their halves are exact in double.
uint16_t NearestByDefinition(const std::vector<double>& magnitudes,
                             double number) {
  const unsigned sign = std::signbit(number) ? 0x8000 : 0;
  const double magnitude = std::abs(number);
  // The next number, had the format one more exponent, bounds what rounds to
  // the largest.
  const double largest = magnitudes.back();
  const double beyond = largest + (largest - magnitudes[magnitudes.size() - 2]);
  const auto above =
      std::lower_bound(magnitudes.begin(), magnitudes.end(), magnitude);
  auto index = static_cast<unsigned>(above - magnitudes.begin());
  const double upper = above == magnitudes.end() ? beyond : *above;
  if (magnitude >= upper) return static_cast<uint16_t>(sign | index);
  const double lower = magnitudes[index - 1];
  const double midpoint = lower + (upper - lower) / 2;
  const bool down =
      magnitude < midpoint || (magnitude == midpoint && index % 2 == 1);
  return static_cast<uint16_t>(sign | (down ? index - 1 : index));
}

template <typename Wide>
void ExpectSameNumber(Wide wide, double expected, unsigned bits) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(wide)) << bits;
  } else {
    EXPECT_EQ(wide, expected) << bits;
    EXPECT_EQ(std::signbit(wide), std::signbit(expected)) << bits;
  }
}

TEST(Half, EveryFloat16WidensToItsDefinition) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    ExpectSameNumber(Float16ToFloat(half), ByDefinition(kFloat16, half), bits);
  }
}

TEST(Half, EveryBfloat16WidensToItsDefinition) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    ExpectSameNumber(Bfloat16ToFloat(half), ByDefinition(kBfloat16, half),
                     bits);
  }
}

TEST(Half, EveryNumberNarrowsToItself) {
  for (unsigned bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float float16 = Float16ToFloat(half);
    if (!std::isnan(float16)) {
      EXPECT_EQ(ToFloat16(float16), half);
      EXPECT_EQ(ToFloat16(double{float16}), half);
    }
    const float bfloat16 = Bfloat16ToFloat(half);
    if (!std::isnan(bfloat16)) {
      EXPECT_EQ(ToBfloat16(bfloat16), half);
      EXPECT_EQ(ToBfloat16(double{bfloat16}), half);
    }
  }
}

// Every place where rounding turns: the midpoint of each pair of neighbours,
// and the numbers of T next to it on both sides. Rounding double to float first
// would move the neighbours of a midpoint onto it.
template <typename T, typename Narrow>
void ExpectTurnsAtMidpoints(const Format& format, Narrow narrow) {
  const std::vector<double> magnitudes = Magnitudes(format);
  const double largest = magnitudes.back();
  for (size_t i = 0; i < magnitudes.size(); ++i) {
    const double lower = magnitudes[i];
    const double gap = i + 1 < magnitudes.size() ? magnitudes[i + 1] - lower
                                                 : largest - magnitudes[i - 1];
    const auto midpoint = static_cast<T>(lower + gap / 2);
    ASSERT_EQ(midpoint, lower + gap / 2) << "the midpoint is exact in T";
    for (const T number :
         {std::nextafter(midpoint, T{0}), midpoint,
          std::nextafter(midpoint, std::numeric_limits<T>::infinity())}) {
      ASSERT_EQ(narrow(number), NearestByDefinition(magnitudes, number))
          << number;
      ASSERT_EQ(narrow(-number), NearestByDefinition(magnitudes, -number))
          << -number;
    }
  }
}

TEST(Half, DoubleRoundsOnceToFloat16) {
  ExpectTurnsAtMidpoints<double>(kFloat16, ToFloat16<double>);
}
TEST(Half, FloatRoundsToFloat16) {
  ExpectTurnsAtMidpoints<float>(kFloat16, ToFloat16<float>);
}
TEST(Half, DoubleRoundsOnceToBfloat16) {
  ExpectTurnsAtMidpoints<double>(kBfloat16, ToBfloat16<double>);
}
TEST(Half, FloatRoundsToBfloat16) {
  ExpectTurnsAtMidpoints<float>(kBfloat16, ToBfloat16<float>);
}

TEST(Half, RandomNumbersRoundToTheNearest) {
  const std::vector<double> float16 = Magnitudes(kFloat16);
  const std::vector<double> bfloat16 = Magnitudes(kBfloat16);
  std::mt19937_64 generator(1);
  // Exponents around and beyond both ends of each format's range.
  std::uniform_int_distribution<int> float16_exponent(-30, 18);
  std::uniform_int_distribution<int> bfloat16_exponent(-140, 130);
  std::uniform_real_distribution<double> significand(-2, 2);
  for (int i = 0; i < 300000; ++i) {
    const double number = significand(generator);
    const double small = std::ldexp(number, float16_exponent(generator));
    ASSERT_EQ(ToFloat16(small), NearestByDefinition(float16, small)) << small;
    const double large = std::ldexp(number, bfloat16_exponent(generator));
    ASSERT_EQ(ToBfloat16(large), NearestByDefinition(bfloat16, large)) << large;
    const auto narrow = static_cast<float>(small);
    ASSERT_EQ(ToFloat16(narrow), NearestByDefinition(float16, narrow))
        << narrow;
  }
}

TEST(Half, Float16EndsBetween65504And65520) {
  EXPECT_EQ(Float16ToFloat(ToFloat16(65504.0f)), 65504);
  EXPECT_EQ(Float16ToFloat(ToFloat16(std::nextafter(65520.0, 0))), 65504);
  EXPECT_EQ(Float16ToFloat(ToFloat16(65520.0)), kInfinity);
  EXPECT_EQ(Float16ToFloat(ToFloat16(-65520.0f)), -kInfinity);
  EXPECT_EQ(Float16ToFloat(ToFloat16(1e300)), kInfinity);
}

template <typename T>
void ExpectSpecialNumbersSurvive() {
  const T infinity = std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  EXPECT_EQ(ToFloat16(infinity), 0x7c00);
  EXPECT_EQ(ToFloat16(-infinity), 0xfc00);
  EXPECT_EQ(ToFloat16(T{0}), 0x0000);
  EXPECT_EQ(ToFloat16(-T{0}), 0x8000);
  EXPECT_EQ(ToFloat16(nan), 0x7e00);
  EXPECT_EQ(ToFloat16(std::copysign(nan, T{-1})), 0xfe00);
  EXPECT_EQ(ToFloat16(std::numeric_limits<T>::denorm_min()), 0x0000);
  EXPECT_EQ(ToFloat16(-std::numeric_limits<T>::denorm_min()), 0x8000);
  EXPECT_EQ(ToBfloat16(infinity), 0x7f80);
  EXPECT_EQ(ToBfloat16(-infinity), 0xff80);
  EXPECT_EQ(ToBfloat16(-T{0}), 0x8000);
  EXPECT_EQ(ToBfloat16(nan), 0x7fc0);
  EXPECT_EQ(ToBfloat16(std::numeric_limits<T>::denorm_min()), 0x0000);
  EXPECT_EQ(ToBfloat16(std::numeric_limits<T>::max()), 0x7f80);
}

TEST(Half, SpecialFloatsSurvive) { ExpectSpecialNumbersSurvive<float>(); }
TEST(Half, SpecialDoublesSurvive) { ExpectSpecialNumbersSurvive<double>(); }

// A NaN whose payload lies only in the bits that are dropped must not become
// infinity.
TEST(Half, NanWithLowPayloadStaysNan) {
  EXPECT_EQ(ToFloat16(std::bit_cast<float>(0x7f800001u)), 0x7e00);
  EXPECT_EQ(ToBfloat16(std::bit_cast<float>(0xff800001u)), 0xffc0);
  EXPECT_EQ(ToFloat16(std::bit_cast<double>(uint64_t{0x7ff0000000000001})),
            0x7e00);
}

}  // namespace
}  // namespace attention
