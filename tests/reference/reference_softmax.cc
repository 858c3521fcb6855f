#include "tests/reference/reference_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace attention::reference {
namespace {

constexpr long double kMinusInfinity =
    -std::numeric_limits<long double>::infinity();

// Multiples of u by which these functions may be off: 1 ulp is up to 2u.
constexpr long double kExpRoundoffs = 2;
constexpr long double kTanhRoundoffs = 4;
constexpr long double kLogRoundoffs = 2;

// The interval of exp(x + f) for |f| <= reach.
struct Interval {
  long double low = 0;
  long double high = 0;
};

Interval Exponential(long double x, long double reach,
                     const Precision& precision) {
  // Far beyond any score, and still finite in long double when added up.
  constexpr long double kLargestArgument = 10000;
  const long double low = std::exp(x - reach) - precision.smallest_subnormal;
  const long double high = std::exp(std::min(x + reach, kLargestArgument)) +
                           precision.smallest_subnormal;
  // Above 0, so that one key alone has weight low / low = 1 and not 0 / 0.
  return {std::max(std::numeric_limits<long double>::min(), low), high};
}

// The computed exponentials of a row, up to a common factor.
struct Exponentials {
  std::vector<Interval> terms;
  Interval sum;
  long double exact_sum = 0;  // of exp(score - max)
  long double max = kMinusInfinity;
  int64_t count = 0;
};

Exponentials ExponentialsOf(const Row& row, int64_t rescalings,
                            const Precision& precision) {
  Exponentials result;
  long double highest = kMinusInfinity;
  for (size_t k = 0; k < row.scores.size(); ++k) {
    if (!row.attended[k]) continue;
    const Bounded score = row.scores[k];
    result.max = std::max(result.max, score.value);
    highest = std::max(highest, score.value + score.error);
    ++result.count;
  }
  const long double u = precision.unit_roundoff;
  const long double exp_error = -std::log1p(-kExpRoundoffs * u) *
                                static_cast<long double>(1 + rescalings);
  result.terms.resize(row.scores.size());
  for (size_t k = 0; k < row.scores.size(); ++k) {
    if (!row.attended[k]) continue;
    const Bounded score = row.scores[k];
    const long double distance = highest - (score.value - score.error);
    const long double reach = score.error + u * distance + exp_error;
    const long double x = score.value - result.max;
    result.terms[k] = Exponential(x, reach, precision);
    result.sum.low += result.terms[k].low;
    result.sum.high += result.terms[k].high;
    result.exact_sum += std::exp(x);
  }
  return result;
}

// `summation` is the relative error of the sum.
Bounded LogSumExp(const Exponentials& exponentials, long double summation,
                  const Precision& precision) {
  const long double u_double = Float64Precision().unit_roundoff;
  const long double logarithm = std::log(exponentials.exact_sum);
  const long double spread =
      std::max(std::log(exponentials.sum.high) - logarithm,
               logarithm - std::log(exponentials.sum.low)) -
      std::log1p(-summation);
  Bounded lse = {exponentials.max + logarithm, spread};
  lse.error += kLogRoundoffs * u_double * (std::fabs(logarithm) + spread) +
               u_double * lse.Magnitude();
  lse.error += precision.unit_roundoff * lse.Magnitude();
  return lse;
}

}  // namespace

Bounded Softcap(Bounded score, long double softcap,
                const Precision& precision) {
  const Bounded argument =
      Rounded({score.value / softcap, score.error / softcap}, 3, precision);
  const long double nearest =
      std::max(0.0L, std::fabs(argument.value) - argument.error);
  const long double steepest = 1 - std::pow(std::tanh(nearest), 2);
  Bounded tangent = {std::tanh(argument.value), argument.error * steepest};
  tangent.error +=
      kTanhRoundoffs * precision.unit_roundoff * tangent.Magnitude() +
      precision.smallest_subnormal;
  return Rounded({tangent.value * softcap, tangent.error * softcap}, 2,
                 precision);
}

Folding InTiles(int64_t kv_len) {
  constexpr int64_t kTile = 512;
  return {kTile / 2 + 1,
          std::max<int64_t>(0, (kv_len + kTile - 1) / kTile - 1)};
}

SoftmaxOfRow Softmax(const Row& row, const Folding& folding,
                     const Precision& precision) {
  const Exponentials exponentials =
      ExponentialsOf(row, folding.rescalings, precision);
  SoftmaxOfRow result;
  result.weights.assign(row.scores.size(), Exact(0));
  result.lse = Exact(kMinusInfinity);
  if (exponentials.count == 0) return result;

  const long double u = precision.unit_roundoff;
  const int64_t additions = exponentials.count - 1;
  const long double summation =
      Gamma(additions, Float64Precision().unit_roundoff) +
      Gamma(std::min(additions, folding.additions_in_t), u);
  const long double roundings = summation + Gamma(2 + folding.rescalings, u);
  for (size_t k = 0; k < row.scores.size(); ++k) {
    if (!row.attended[k]) continue;
    const auto [low, high] = exponentials.terms[k];
    const long double value = std::exp(row.scores[k].value - exponentials.max) /
                              exponentials.exact_sum;
    const long double least =
        low / (exponentials.sum.high - high + low) * (1 - roundings);
    const long double most =
        high / (exponentials.sum.low - low + high) * (1 + roundings);
    result.weights[k] = {value, std::max(most - value, value - least) +
                                    precision.smallest_subnormal};
  }
  result.lse = LogSumExp(exponentials, summation, precision);
  return result;
}

}  // namespace attention::reference
