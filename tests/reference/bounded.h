// Numbers that carry a bound on the rounding error of somebody else's
// arithmetic.
//
// The reference computes in long double. Beside each number it keeps how far
// the same number, computed in float or double by a program that is judged, may
// be from it at most: a running error analysis done before that program is
// looked at, with nothing measured and nothing fitted.
//
// Model (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed.,
// section 2.2): fl(a op b) = (a op b)(1 + d) with |d| <= u, the unit roundoff;
// where the result of a product, a quotient or exp is subnormal, an absolute
// error of at most the smallest subnormal comes on top (sums are exact there).
// k such factors in a row are 1 + t with |t| <= gamma(k) = k u / (1 - k u)
// (Lemma 3.1). A sum of n products has relative error gamma(n) with respect to
// the sum of their magnitudes, in any order of summation and with or without
// fused multiply-add (section 3.1), so nothing here depends on how a BLAS cuts
// or orders its work.
#ifndef TESTS_REFERENCE_BOUNDED_H_
#define TESTS_REFERENCE_BOUNDED_H_

#include <cmath>
#include <cstdint>

namespace attention::reference {

// Of the arithmetic that is judged.
struct Precision {
  long double unit_roundoff = 0;  // u
  long double smallest_subnormal = 0;
  long double largest = 0;  // the largest finite number
};

// The unit roundoff of long double is added to each, which pays for the
// reference's own rounding: every bound below is convex in u and 0 at u = 0, so
// bound(u) + bound(v) <= bound(u + v).
Precision Float32Precision();
Precision Float64Precision();

// A value, and how far the judged computation may be from it at most.
struct Bounded {
  long double value = 0;
  long double error = 0;

  // The largest magnitude the judged computation may have got.
  long double Magnitude() const { return std::fabs(value) + error; }
};

inline Bounded Exact(long double value) { return {value, 0}; }

// k u / (1 - k u). REQUIRES: k * unit_roundoff < 1.
inline long double Gamma(int64_t roundings, long double unit_roundoff) {
  const long double product =
      static_cast<long double>(roundings) * unit_roundoff;
  return product / (1 - product);
}

// x after `roundings` more multiplications or divisions by exact numbers that
// leave the value as it is.
Bounded Rounded(Bounded x, int64_t roundings, const Precision& precision);

// x * y and x + y, rounded once.
Bounded Product(Bounded x, Bounded y, const Precision& precision);
Bounded Sum(Bounded x, Bounded y, const Precision& precision);

// A sum of products, and at most one number added to it.
//
// With |x^ - x| <= dx and |y^ - y| <= dy each product is off by at most
// (|x| + dx)(|y| + dy) - |x||y| before anything is rounded, and the roundings
// of n products and their n - 1 additions by gamma(n) of (|x| + dx)(|y| + dy).
// A product that is certainly zero is exact, and so is adding it.
class DotProduct {
 public:
  void Add(const Bounded& x, const Bounded& y) {
    const long double reach = x.Magnitude() * y.Magnitude();
    value_ += x.value * y.value;
    reach_ += reach;
    magnitude_ += std::fabs(x.value) * std::fabs(y.value);
    terms_ += reach > 0 ? 1 : 0;
  }

  Bounded Result(const Precision& precision) const {
    return Finish(value_, reach_, terms_, precision);
  }

  // The same with `addend` added first, last or anywhere between.
  Bounded PlusExact(long double addend, const Precision& precision) const {
    return Finish(value_ + addend, reach_ + std::fabs(addend),
                  terms_ == 0 ? 0 : terms_ + 1, precision);
  }

 private:
  Bounded Finish(long double value, long double reach, int64_t roundings,
                 const Precision& precision) const {
    const long double propagated = reach_ - magnitude_;
    const long double rounding =
        Gamma(roundings, precision.unit_roundoff) * reach;
    const long double underflow =
        static_cast<long double>(terms_) * precision.smallest_subnormal;
    return {value, propagated + rounding + underflow};
  }

  long double value_ = 0;
  long double reach_ = 0;
  long double magnitude_ = 0;
  int64_t terms_ = 0;
};

// A binary floating-point format by its significand (with the implicit bit) and
// its smallest normal exponent.
struct Format {
  int significand_bits = 0;
  int smallest_exponent = 0;
  long double largest = 0;
};

Format Float16Format();
Format Bfloat16Format();
Format Float32Format();

// The nearest number of `format`, ties to even; infinity beyond its range.
// Written from the definition, with no bit tricks, to be compared with.
long double RoundToFormat(long double value, const Format& format);

// x rounded to `format`: half a unit in the last place of the largest magnitude
// x may have got, subnormals included.
Bounded RoundedToFormat(Bounded x, const Format& format);

}  // namespace attention::reference

#endif  // TESTS_REFERENCE_BOUNDED_H_
