#include "server/core/online_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

// Compiles this file once for each instruction set; the best is chosen at run
// time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/core/online_softmax.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
// Comes last: it uses what highway.h defines for the present target.
#include "hwy/contrib/math/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace attention::core::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Largest of count scores, a multiple of the lanes; `finite` becomes false if
// one is NaN or infinite.
template <class D, typename T = hn::TFromD<D>>
T MaxOf(D d, const T* scores, int64_t count, bool& finite) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto zero = hn::Zero(d);
  auto max0 = hn::Set(d, -std::numeric_limits<T>::infinity());
  auto max1 = max0;
  auto poison0 = zero;  // 0, or NaN once a score was not finite
  auto poison1 = zero;
  int64_t j = 0;
  for (; j + 2 * lanes <= count; j += 2 * lanes) {
    const auto scores0 = hn::Load(d, scores + j);
    const auto scores1 = hn::Load(d, scores + j + lanes);
    max0 = hn::Max(max0, scores0);
    max1 = hn::Max(max1, scores1);
    poison0 = hn::MulAdd(scores0, zero, poison0);
    poison1 = hn::MulAdd(scores1, zero, poison1);
  }
  if (j < count) {
    const auto scores0 = hn::Load(d, scores + j);
    max0 = hn::Max(max0, scores0);
    poison0 = hn::MulAdd(scores0, zero, poison0);
  }
  const auto poison = hn::Add(poison0, poison1);
  finite = hn::AllTrue(d, hn::Eq(poison, zero));
  return hn::GetLane(hn::MaxOfLanes(d, hn::Max(max0, max1)));
}

// exp(x) for x <= 0, within 1 ulp, subnormal results too; 0 for -inf.
//
// x = q ln 2 + r with |r| <= ln 2 / 2, so exp(x) = 2^q exp(r), and exp(r) is
// 1 + r + r^2 p(r) with the polynomial p of degree 4 that is best in relative
// error (3.1e-9, a twentieth of a roundoff). q ln 2 is taken off in two parts,
// of which the first is exact. Cheaper than hn::Exp, which serves positive x,
// too.
template <class V>
V ExpOfNonPositive(hn::ScalableTag<float> d, V x) {
  const auto smallest = hn::Set(d, -103.9721f);  // ln 2^-150: all below is 0
  const auto in_range = hn::Ge(x, smallest);
  const auto clamped = hn::Max(x, smallest);
  const auto q = hn::Round(hn::Mul(clamped, hn::Set(d, 1.44269504f)));
  auto r = hn::MulAdd(q, hn::Set(d, -0.693145752f), clamped);
  r = hn::MulAdd(q, hn::Set(d, -1.42860677e-6f), r);
  auto p = hn::Set(d, 0.00138145406f);
  p = hn::MulAdd(p, r, hn::Set(d, 0.00836874545f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.041668389f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.166665211f));
  p = hn::MulAdd(p, r, hn::Set(d, 0.49999994f));
  const auto exp_r = hn::Add(hn::Set(d, 1.0f), hn::MulAdd(hn::Mul(r, r), p, r));
  // 2^(q + 24) is normal for q >= -150, so only the last product can round to a
  // subnormal.
  const hn::RebindToSigned<hn::ScalableTag<float>> d_int;
  const auto exponent_bits = hn::ShiftLeft<23>(
      hn::Add(hn::ConvertTo(d_int, q), hn::Set(d_int, 127 + 24)));
  const auto scaled = hn::Mul(exp_r, hn::BitCast(d, exponent_bits));
  return hn::IfThenElseZero(in_range, hn::Mul(scaled, hn::Set(d, 0x1p-24f)));
}

template <class V>
V ExpOfNonPositive(hn::ScalableTag<double> d, V x) {
  return hn::Exp(d, x);
}

// scores = exp(scores - max); returns their sum.
template <class D, typename T = hn::TFromD<D>>
double ExpAndSum(D d, T max, int64_t count, T* scores) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto maximum = hn::Set(d, max);
  auto sum0 = hn::Zero(d);
  auto sum1 = hn::Zero(d);
  int64_t j = 0;
  for (; j + 2 * lanes <= count; j += 2 * lanes) {
    const auto exp0 =
        ExpOfNonPositive(d, hn::Sub(hn::Load(d, scores + j), maximum));
    const auto exp1 =
        ExpOfNonPositive(d, hn::Sub(hn::Load(d, scores + j + lanes), maximum));
    hn::Store(exp0, d, scores + j);
    hn::Store(exp1, d, scores + j + lanes);
    sum0 = hn::Add(sum0, exp0);
    sum1 = hn::Add(sum1, exp1);
  }
  if (j < count) {
    const auto exp0 =
        ExpOfNonPositive(d, hn::Sub(hn::Load(d, scores + j), maximum));
    hn::Store(exp0, d, scores + j);
    sum0 = hn::Add(sum0, exp0);
  }
  return static_cast<double>(
      hn::GetLane(hn::SumOfLanes(d, hn::Add(sum0, sum1))));
}

template <class D, typename T = hn::TFromD<D>>
void Scale(D d, T factor, int64_t count, T* numbers) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factors = hn::Set(d, factor);
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    hn::StoreU(hn::Mul(factors, hn::LoadU(d, numbers + j)), d, numbers + j);
  }
  for (; j < count; ++j) numbers[j] *= factor;
}

template <class D, typename T = hn::TFromD<D>>
bool SoftmaxRow(D d, KeyRange visible, int64_t columns, bool prepared,
                T* scores, RowState<T>& state, T* output, int64_t value_dim) {
  constexpr T kExcluded = -std::numeric_limits<T>::infinity();
  if (visible.size() <= 0) {
    std::fill(scores, scores + columns, T{0});
    return true;
  }
  // Whole vectors that cover the visible columns. While the maximum is taken,
  // what they cover beyond repeats a visible score; then it is excluded.
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t begin = visible.begin / lanes * lanes;
  const int64_t end = (visible.end + lanes - 1) / lanes * lanes;
  const auto fill_beyond = [&](T fill) {
    std::fill(scores + begin, scores + visible.begin, fill);
    std::fill(scores + visible.end, scores + end, fill);
  };
  fill_beyond(scores[visible.begin]);
  bool finite = true;
  const T tile_max = MaxOf(d, scores + begin, end - begin, finite);
  fill_beyond(kExcluded);
  if (prepared) {
    // NaN does not survive PrepareRow, and -inf is how it excludes.
    if (tile_max == kExcluded) {
      std::fill(scores, scores + columns, T{0});
      return true;
    }
    finite = tile_max < std::numeric_limits<T>::infinity();
  } else {
    state.live = true;
  }
  if (!finite) return false;

  if (tile_max > state.max) {
    const T shrink = std::exp(state.max - tile_max);  // 0 for the first tile
    state.max = tile_max;
    if (state.sum != 0) {
      state.sum *= static_cast<double>(shrink);
      Scale(d, shrink, value_dim, output);
    }
  }
  state.sum += ExpAndSum(d, state.max, end - begin, scores + begin);
  std::fill(scores, scores + begin, T{0});
  if (end < columns) std::fill(scores + end, scores + columns, T{0});
  return true;
}

template <typename T>
bool SoftmaxRows(int64_t rows, int64_t columns, bool prepared, T* scores,
                 int64_t scores_stride, const KeyRange* visible,
                 RowState<T>* states, T* output, int64_t value_dim) {
  const hn::ScalableTag<T> d;
  for (int64_t row = 0; row < rows; ++row) {
    if (!SoftmaxRow(d, visible[row], columns, prepared,
                    scores + row * scores_stride, states[row],
                    output + row * value_dim, value_dim)) {
      return false;
    }
  }
  return true;
}

bool SoftmaxRowsFloat(int64_t rows, int64_t columns, bool prepared,
                      float* scores, int64_t scores_stride,
                      const KeyRange* visible, RowState<float>* states,
                      float* output, int64_t value_dim) {
  return SoftmaxRows(rows, columns, prepared, scores, scores_stride, visible,
                     states, output, value_dim);
}

bool SoftmaxRowsDouble(int64_t rows, int64_t columns, bool prepared,
                       double* scores, int64_t scores_stride,
                       const KeyRange* visible, RowState<double>* states,
                       double* output, int64_t value_dim) {
  return SoftmaxRows(rows, columns, prepared, scores, scores_stride, visible,
                     states, output, value_dim);
}

template <class D, typename T = hn::TFromD<D>>
bool NormalizeRow(D d, T divisor, int64_t count, const T* sums, T* output) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto divisors = hn::Set(d, divisor);
  const auto zero = hn::Zero(d);
  auto poison = zero;  // 0, or NaN once a quotient was not finite
  int64_t j = 0;
  for (; j + lanes <= count; j += lanes) {
    const auto quotient = hn::Div(hn::LoadU(d, sums + j), divisors);
    poison = hn::MulAdd(quotient, zero, poison);
    hn::StoreU(quotient, d, output + j);
  }
  bool finite = hn::AllTrue(d, hn::Eq(poison, zero));
  for (; j < count; ++j) {
    output[j] = sums[j] / divisor;
    finite = finite && std::isfinite(output[j]);
  }
  return finite;
}

bool NormalizeFloat(float divisor, int64_t count, const float* sums,
                    float* output) {
  return NormalizeRow(hn::ScalableTag<float>(), divisor, count, sums, output);
}

bool NormalizeDouble(double divisor, int64_t count, const double* sums,
                     double* output) {
  return NormalizeRow(hn::ScalableTag<double>(), divisor, count, sums, output);
}

}  // namespace attention::core::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attention::core {

HWY_EXPORT(SoftmaxRowsFloat);
HWY_EXPORT(SoftmaxRowsDouble);
HWY_EXPORT(NormalizeFloat);
HWY_EXPORT(NormalizeDouble);

template <>
bool OnlineSoftmax<float>(int64_t rows, int64_t columns, bool prepared,
                          float* scores, int64_t scores_stride,
                          const KeyRange* visible, RowState<float>* states,
                          float* output, int64_t value_dim) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxRowsFloat)(rows, columns, prepared, scores,
                                                scores_stride, visible, states,
                                                output, value_dim);
}

template <>
bool OnlineSoftmax<double>(int64_t rows, int64_t columns, bool prepared,
                           double* scores, int64_t scores_stride,
                           const KeyRange* visible, RowState<double>* states,
                           double* output, int64_t value_dim) {
  return HWY_DYNAMIC_DISPATCH(SoftmaxRowsDouble)(rows, columns, prepared,
                                                 scores, scores_stride, visible,
                                                 states, output, value_dim);
}

template <>
bool Normalize<float>(float divisor, int64_t count, const float* sums,
                      float* output) {
  return HWY_DYNAMIC_DISPATCH(NormalizeFloat)(divisor, count, sums, output);
}

template <>
bool Normalize<double>(double divisor, int64_t count, const double* sums,
                       double* output) {
  return HWY_DYNAMIC_DISPATCH(NormalizeDouble)(divisor, count, sums, output);
}

template <typename T>
bool PrepareRow(const RowOptions<T>& options, int64_t count, T* scores,
                bool& live) {
  constexpr T kExcluded = -std::numeric_limits<T>::infinity();
  // Without an early exit, so that it vectorises.
  bool finite = true;
  for (int64_t j = 0; j < count; ++j) {
    finite &= std::abs(scores[j]) <= std::numeric_limits<T>::max();
  }
  if (!finite) return false;
  if (options.softcap != 0) {
    for (int64_t j = 0; j < count; ++j) {
      scores[j] = options.softcap * std::tanh(scores[j] / options.softcap);
    }
  }
  bool any = options.attend_mask == nullptr && options.bias == nullptr;
  if (options.bias != nullptr) {
    bool attended = false;
    for (int64_t j = 0; j < count; ++j) {
      const T bias = options.bias[j * options.bias_stride];
      attended |= bias != kExcluded;
      scores[j] += bias;
    }
    any = attended;
  }
  if (options.attend_mask != nullptr) {
    bool attended = false;
    for (int64_t j = 0; j < count; ++j) {
      const bool attend =
          options.attend_mask[j * options.attend_mask_stride] != 0;
      const bool biased_in = options.bias == nullptr ||
                             options.bias[j * options.bias_stride] != kExcluded;
      attended |= attend && biased_in;
      scores[j] = attend ? scores[j] : kExcluded;
    }
    any = attended;
  }
  live = live || (any && count > 0);
  return true;
}

template bool PrepareRow<float>(const RowOptions<float>&, int64_t, float*,
                                bool&);
template bool PrepareRow<double>(const RowOptions<double>&, int64_t, double*,
                                 bool&);

}  // namespace attention::core
#endif  // HWY_ONCE
