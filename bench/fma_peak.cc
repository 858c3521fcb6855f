#include "bench/fma_peak.h"

#include <cstdint>

// Compiles this file once for each instruction set; the best is chosen at run
// time.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "bench/fma_peak.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace attention::bench::HWY_NAMESPACE {

// Two multiply-adds can start in each cycle and take four or five, so ten sums
// keep every unit busy; AVX2 has registers for these and two factors.
constexpr int kSums = 12;

// Multiply-adds of one round.
int64_t PerRound() {
  return kSums * static_cast<int64_t>(hwy::HWY_NAMESPACE::Lanes(
                     hwy::HWY_NAMESPACE::ScalableTag<float>()));
}

// Sums that are not known before, differ, so that none stands for another, and
// are used. Factors below 1 keep them small.
float MultiplyAdd(int64_t rounds, float factor) {
  namespace hn = hwy::HWY_NAMESPACE;
  const hn::ScalableTag<float> lanes;
  const auto a = hn::Set(lanes, factor);
  const auto b = hn::Set(lanes, 1 - factor);
  const auto start = [&](float i) { return hn::Set(lanes, i * factor); };
  auto s0 = start(0);
  auto s1 = start(1);
  auto s2 = start(2);
  auto s3 = start(3);
  auto s4 = start(4);
  auto s5 = start(5);
  auto s6 = start(6);
  auto s7 = start(7);
  auto s8 = start(8);
  auto s9 = start(9);
  auto s10 = start(10);
  auto s11 = start(11);
  for (int64_t round = 0; round < rounds; ++round) {
    s0 = hn::MulAdd(s0, a, b);
    s1 = hn::MulAdd(s1, a, b);
    s2 = hn::MulAdd(s2, a, b);
    s3 = hn::MulAdd(s3, a, b);
    s4 = hn::MulAdd(s4, a, b);
    s5 = hn::MulAdd(s5, a, b);
    s6 = hn::MulAdd(s6, a, b);
    s7 = hn::MulAdd(s7, a, b);
    s8 = hn::MulAdd(s8, a, b);
    s9 = hn::MulAdd(s9, a, b);
    s10 = hn::MulAdd(s10, a, b);
    s11 = hn::MulAdd(s11, a, b);
  }
  const auto sum = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9 + s10 + s11;
  return hn::GetLane(hn::SumOfLanes(lanes, sum));
}

}  // namespace attention::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace attention::bench {
namespace {

HWY_EXPORT(PerRound);
HWY_EXPORT(MultiplyAdd);

}  // namespace

double FmaPeak::Flops() const {
  return 2.0 * static_cast<double>(kRounds * HWY_DYNAMIC_DISPATCH(PerRound)());
}

void FmaPeak::Run() const {
  volatile float factor = 0.5f;
  volatile float sum = HWY_DYNAMIC_DISPATCH(MultiplyAdd)(kRounds, factor);
  static_cast<void>(sum);
}

}  // namespace attention::bench
#endif  // HWY_ONCE
