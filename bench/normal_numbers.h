// Memory full of numbers from N(0, 1).
#ifndef BENCH_NORMAL_NUMBERS_H_
#define BENCH_NORMAL_NUMBERS_H_

#include <cstdint>
#include <cstdlib>
#include <memory>

namespace attention::bench {

struct Release {
  void operator()(float* memory) const { std::free(memory); }
};

// Aligned to 64 bytes, like the buffers of the server.
using Numbers = std::unique_ptr<float[], Release>;

// `count` numbers from N(0, scale^2), the same for the same seed.
Numbers NormalNumbers(int64_t count, uint64_t seed, double scale = 1);

// Memory that has been written once, so that its pages are there.
Numbers Zeros(int64_t count);

}  // namespace attention::bench

#endif  // BENCH_NORMAL_NUMBERS_H_
