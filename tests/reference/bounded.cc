#include "tests/reference/bounded.h"

#include <algorithm>
#include <limits>

namespace attention::reference {
namespace {

// A unit in the last place of `format` at `magnitude`.
long double UnitInLastPlace(long double magnitude, const Format& format) {
  int exponent = 0;
  std::frexp(magnitude,
             &exponent);  // magnitude = m * 2^exponent, m in [1/2, 1)
  const int normal = std::max(exponent - 1, format.smallest_exponent);
  return std::ldexp(1.0L, normal - format.significand_bits + 1);
}

template <typename T>
Precision PrecisionOf() {
  const long double own = std::numeric_limits<long double>::epsilon() / 2;
  return {std::numeric_limits<T>::epsilon() / 2 + own,
          std::numeric_limits<T>::denorm_min(), std::numeric_limits<T>::max()};
}

Format MakeFormat(int significand_bits, int smallest_exponent) {
  const long double below_two =
      2 - std::ldexp(1.0L, 1 - significand_bits);  // 1.11...1 in binary
  return {significand_bits, smallest_exponent,
          std::ldexp(below_two, 1 - smallest_exponent)};
}

}  // namespace

Precision Float32Precision() { return PrecisionOf<float>(); }
Precision Float64Precision() { return PrecisionOf<double>(); }

Bounded Rounded(Bounded x, int64_t roundings, const Precision& precision) {
  const long double rounding =
      Gamma(roundings, precision.unit_roundoff) * x.Magnitude();
  const long double underflow =
      static_cast<long double>(roundings) * precision.smallest_subnormal;
  return {x.value, x.error + rounding + underflow};
}

Bounded Product(Bounded x, Bounded y, const Precision& precision) {
  const long double propagated = std::fabs(x.value) * y.error +
                                 std::fabs(y.value) * x.error +
                                 x.error * y.error;
  return Rounded({x.value * y.value, propagated}, 1, precision);
}

Bounded Sum(Bounded x, Bounded y, const Precision& precision) {
  const Bounded sum = {x.value + y.value, x.error + y.error};
  return {sum.value, sum.error + precision.unit_roundoff * sum.Magnitude()};
}

Format Float16Format() { return MakeFormat(11, -14); }
Format Bfloat16Format() { return MakeFormat(8, -126); }
Format Float32Format() { return MakeFormat(24, -126); }

long double RoundToFormat(long double value, const Format& format) {
  if (value == 0 || !std::isfinite(value)) return value;
  const long double unit = UnitInLastPlace(value, format);
  // Exact: a power of two, and nearbyint rounds ties to even.
  const long double rounded = std::nearbyint(value / unit) * unit;
  if (std::fabs(rounded) > format.largest) {
    return std::copysign(std::numeric_limits<long double>::infinity(), value);
  }
  return rounded == 0 ? std::copysign(0.0L, value) : rounded;
}

Bounded RoundedToFormat(Bounded x, const Format& format) {
  if (x.Magnitude() == 0 || !std::isfinite(x.value)) return x;
  return {x.value, x.error + UnitInLastPlace(x.Magnitude(), format) / 2};
}

}  // namespace attention::reference
