// The online softmax of a strip.
//
// Included by strip_kernel.cc once for each instruction set.
#if defined(SERVER_CORE_KERNEL_STRIP_SOFTMAX_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef SERVER_CORE_KERNEL_STRIP_SOFTMAX_INL_H_
#undef SERVER_CORE_KERNEL_STRIP_SOFTMAX_INL_H_
#else
#define SERVER_CORE_KERNEL_STRIP_SOFTMAX_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "hwy/contrib/math/math-inl.h"
#include "server/core/kernel/strip.h"
#include "server/core/kernel/strip_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace attention::core::HWY_NAMESPACE {

// kWeightScale * exp(x) for x <= 0, within 1 ulp; 0 where exp(x) rounds to 0.
//
// x = q ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^q exp(r), and exp(r) is
// 1 + r + r^2 p(r) with the polynomial p of degree 4 that is best in relative
// error (3.1e-9, a twentieth of a roundoff). q ln 2 is taken off in two parts,
// of which the first is exact. Adding 1.5 * 2^23 rounds to an integer and
// leaves it in the lowest bits. Cheaper than hn::Exp, which serves positive x,
// too.
HWY_INLINE V<float> ScaledExp(V<float> x) {
  const Tag<float> d;
  const hn::RebindToSigned<Tag<float>> d_int;
  static_assert(kWeightScale<float> == 0x1p24f);
  const auto to_integer = hn::Set(d, 0x1.8p23f + 24);
  const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), to_integer);
  const auto q = hn::Sub(shifted, to_integer);
  auto r = hn::MulAdd(q, hn::Set(d, -0.693145752f), x);
  r = hn::MulAdd(q, hn::Set(d, -1.42860677e-6f), r);
  auto p = hn::Set(d, 0.00138145406f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836874545f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.041668389f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665211f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994f));
  const auto exp_r = hn::Add(hn::Set(d, 1.0f), hn::MulAdd(hn::Mul(r, r), p, r));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(d_int, shifted));
  const auto scaled =
      hn::BitCast(d, hn::Add(hn::BitCast(d_int, exp_r), exponent));
  // Half the smallest subnormal is exp(-103.97), and 2^24 times that the
  // smallest normal number: below it the exponent would wrap round.
  return hn::IfThenElseZero(hn::Ge(x, hn::Set(d, -103.9f)), scaled);
}

HWY_INLINE V<double> ScaledExp(V<double> x) {
  static_assert(kWeightScale<double> == 1);
  return hn::Exp(Tag<double>(), x);
}

template <typename T>
HWY_INLINE Pair<T> ScaledExpOfDifference(const Pair<T>& x,
                                         const Pair<T>& from) {
  return {ScaledExp(hn::Sub(x.low, from.low)),
          ScaledExp(hn::Sub(x.high, from.high))};
}

// Largest score of each row, and whether one was NaN or infinite.
template <typename T>
struct Peaks {
  Pair<T> max;
  Pair<T> poison;  // 0, or NaN once a score was not finite

  HWY_INLINE void Add(const Pair<T>& scores, const Pair<T>& attended) {
    const auto zero = hn::Zero(Tag<T>());
    max.low = hn::Max(max.low, scores.low);
    max.high = hn::Max(max.high, scores.high);
    poison.low = hn::MulAdd(attended.low, zero, poison.low);
    poison.high = hn::MulAdd(attended.high, zero, poison.high);
  }

  bool finite() const {
    const Tag<T> d;
    return hn::AllTrue(d,
                       hn::Eq(hn::Add(poison.low, poison.high), hn::Zero(d)));
  }
};

template <typename T>
HWY_INLINE Peaks<T> NoPeaks() {
  return {Both(-std::numeric_limits<T>::infinity()), Both(T{0})};
}

// Scores begin to end of a block that every row sees as they are.
template <typename T>
HWY_INLINE void FindPeaks(const T* scores, int64_t begin, int64_t end,
                          Peaks<T>& peaks) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t j = begin; j < end; ++j) {
    const Pair<T> row = LoadPair(scores + j * width);
    peaks.Add(row, row);
  }
}

// Whether each row sees key j and does not exclude it by `added`.
template <typename T>
HWY_INLINE hn::Mask<Tag<T>> Attended(const KeyBlock<T>& block, int64_t j,
                                     int64_t lane) {
  const Tag<T> d;
  const auto key = hn::Set(d, static_cast<T>(j));
  auto attended = hn::And(hn::Ge(key, hn::Load(d, block.visible_begin + lane)),
                          hn::Lt(key, hn::Load(d, block.visible_end + lane)));
  if (block.added != nullptr) {
    const auto added = hn::Load(d, block.added + j * 2 * Lanes<T>() + lane);
    attended =
        hn::And(attended,
                hn::Ne(added, hn::Set(d, -std::numeric_limits<T>::infinity())));
  }
  return attended;
}

// Scores begin to end of a block with softcap, bias and exclusions; an excluded
// one becomes -inf.
template <typename T>
void PrepareScores(const KeyBlock<T>& block, int64_t begin, int64_t end,
                   Peaks<T>& peaks) {
  const Tag<T> d;
  const int64_t lanes = Lanes<T>();
  const auto excluded = hn::Set(d, -std::numeric_limits<T>::infinity());
  for (int64_t j = begin; j < end; ++j) {
    T* const row = block.scores + j * 2 * lanes;
    if (block.softcap != 0) {
      // NaN and infinities have to reach the check below as they are.
      for (int64_t r = 0; r < 2 * lanes; ++r) {
        if (std::isfinite(row[r])) {
          row[r] = block.softcap * std::tanh(row[r] / block.softcap);
        }
      }
    }
    Pair<T> scores = LoadPair(row);
    if (block.added != nullptr) {
      const Pair<T> added = LoadPair(block.added + j * 2 * lanes);
      scores = {hn::Add(scores.low, added.low),
                hn::Add(scores.high, added.high)};
    }
    const auto low = Attended(block, j, 0);
    const auto high = Attended(block, j, lanes);
    const Pair<T> attended = {hn::IfThenElseZero(low, scores.low),
                              hn::IfThenElseZero(high, scores.high)};
    scores = {hn::IfThenElse(low, scores.low, excluded),
              hn::IfThenElse(high, scores.high, excluded)};
    peaks.Add(scores, attended);
    StorePair(scores, row);
  }
}

// scores = kWeightScale * exp(scores - max); returns the sums of the rows.
template <typename T>
Pair<T> Exponentiate(int64_t count, const Pair<T>& max, T* scores) {
  const int64_t width = 2 * Lanes<T>();
  Pair<T> even = Both(T{0});
  Pair<T> odd = even;
  int64_t j = 0;
  for (; j + 2 <= count; j += 2) {
    T* const row = scores + j * width;
    const Pair<T> first = ScaledExpOfDifference(LoadPair(row), max);
    const Pair<T> second = ScaledExpOfDifference(LoadPair(row + width), max);
    StorePair(first, row);
    StorePair(second, row + width);
    even = {hn::Add(even.low, first.low), hn::Add(even.high, first.high)};
    odd = {hn::Add(odd.low, second.low), hn::Add(odd.high, second.high)};
  }
  if (j < count) {
    T* const row = scores + j * width;
    const Pair<T> last = ScaledExpOfDifference(LoadPair(row), max);
    StorePair(last, row);
    even = {hn::Add(even.low, last.low), hn::Add(even.high, last.high)};
  }
  return {hn::Add(even.low, odd.low), hn::Add(even.high, odd.high)};
}

// numbers[i][.] *= factors for `count` rows of a strip's matrix.
template <typename T>
void Scale(const Pair<T>& factors, int64_t count, T* numbers) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t i = 0; i < count; ++i) {
    const Pair<T> row = LoadPair(numbers + i * width);
    StorePair<T>(
        {hn::Mul(row.low, factors.low), hn::Mul(row.high, factors.high)},
        numbers + i * width);
  }
}

// weights *= kept, element by element.
template <typename T>
void Drop(const T* kept, int64_t count, T* weights) {
  const int64_t width = 2 * Lanes<T>();
  for (int64_t j = 0; j < count; ++j) {
    Scale(LoadPair(kept + j * width), 1, weights + j * width);
  }
}

// Whether no row of a strip has attended to a key yet; its output is undefined
// then.
template <typename T>
bool IsNew(const Strip<T>& strip) {
  const Tag<T> d;
  const Pair<T> max = LoadPair(strip.max);
  const auto nothing = hn::Set(d, -std::numeric_limits<T>::infinity());
  return hn::AllTrue(d, hn::Eq(hn::Max(max.low, max.high), nothing));
}

// Moves the maxima of a strip on to those of a block, and shrinks what has been
// summed with them. Returns what to subtract from scores, which is 0 for a row
// that has attended to nothing yet.
template <typename T>
Pair<T> RaiseMax(const KeyBlock<T>& block, const Strip<T>& strip, bool is_new,
                 const Pair<T>& block_max) {
  const Tag<T> d;
  const auto nothing = hn::Set(d, -std::numeric_limits<T>::infinity());
  const Pair<T> before = LoadPair(strip.max);
  const Pair<T> after = {hn::Max(before.low, block_max.low),
                         hn::Max(before.high, block_max.high)};
  const Pair<T> subtract = {
      hn::IfThenZeroElse(hn::Eq(after.low, nothing), after.low),
      hn::IfThenZeroElse(hn::Eq(after.high, nothing), after.high)};
  const bool stays = hn::AllTrue(d, hn::Eq(before.low, after.low)) &&
                     hn::AllTrue(d, hn::Eq(before.high, after.high));
  if (!stays && !is_new) {
    // 1 where the maximum stays, 0 where there was none.
    const auto unscale = hn::Set(d, 1 / kWeightScale<T>);
    Pair<T> shrink = ScaledExpOfDifference(before, subtract);
    shrink = {hn::Mul(shrink.low, unscale), hn::Mul(shrink.high, unscale)};
    Scale(shrink, block.value_dim, strip.output);
    HWY_ALIGN T factors[2 * (HWY_MAX_BYTES / sizeof(T))];
    StorePair(shrink, factors);
    for (int64_t r = 0; r < 2 * Lanes<T>(); ++r) {
      strip.sum[r] *= static_cast<double>(factors[r]);
    }
  }
  StorePair(after, strip.max);
  return subtract;
}

// Largest scores of a block that has been multiplied, with all options applied;
// not finite if an attended score is not.
template <typename T>
Peaks<T> FinishScores(const KeyBlock<T>& block) {
  // What is neither softcapped nor added to, and seen by every row, stays.
  int64_t plain_begin = block.count;
  int64_t plain_end = block.count;
  if (block.added == nullptr && block.softcap == 0) {
    const int64_t rows = 2 * Lanes<T>();
    plain_begin = static_cast<int64_t>(
        *std::max_element(block.visible_begin, block.visible_begin + rows));
    plain_end = std::max(plain_begin,
                         static_cast<int64_t>(*std::min_element(
                             block.visible_end, block.visible_end + rows)));
  }
  Peaks<T> peaks = NoPeaks<T>();
  PrepareScores(block, 0, plain_begin, peaks);
  FindPeaks(block.scores, plain_begin, plain_end, peaks);
  PrepareScores(block, plain_end, block.count, peaks);
  return peaks;
}

}  // namespace attention::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard, once for each instruction set
