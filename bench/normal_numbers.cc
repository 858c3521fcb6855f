#include "bench/normal_numbers.h"

#include <algorithm>
#include <new>
#include <random>

namespace attention::bench {

Numbers Zeros(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + 63) & ~63U;
  Numbers numbers(static_cast<float*>(std::aligned_alloc(64, bytes)));
  if (numbers == nullptr) throw std::bad_alloc();
  std::fill_n(numbers.get(), count, 0.0F);
  return numbers;
}

Numbers NormalNumbers(int64_t count, uint64_t seed, double scale) {
  Numbers numbers = Zeros(count);
  std::mt19937_64 bits(seed);
  std::normal_distribution<double> normal(0, scale);
  std::generate_n(numbers.get(), count,
                  [&] { return static_cast<float>(normal(bits)); });
  return numbers;
}

}  // namespace attention::bench
