// What one core can do at most.
#ifndef BENCH_FMA_PEAK_H_
#define BENCH_FMA_PEAK_H_

#include <cstdint>

namespace attention::bench {

// Multiply-adds of numbers that stay in registers, in float, in as many sums as
// no processor has latency for, on the instruction set in use
// (core::StripTarget); on the calling thread.
class FmaPeak {
 public:
  // Multiply-adds of one run, twice.
  double Flops() const;
  void Run() const;

 private:
  static constexpr int64_t kRounds = 100'000;
};

}  // namespace attention::bench

#endif  // BENCH_FMA_PEAK_H_
