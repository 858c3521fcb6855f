// Random choices that are the same on every machine.
#ifndef TESTS_LAYER_CASES_DICE_H_
#define TESTS_LAYER_CASES_DICE_H_

#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <random>

namespace attention::core {

class Dice {
 public:
  explicit Dice(uint64_t seed) : bits_(seed) {}

  uint64_t Bits() { return bits_(); }

  // In [0, 1).
  double Uniform() {
    return static_cast<double>(bits_() >> 11) / 9007199254740992.0;  // 2^53
  }
  double Uniform(double low, double high) {
    return low + (high - low) * Uniform();
  }

  // Both ends included.
  int64_t Between(int64_t low, int64_t high) {
    const auto count = static_cast<uint64_t>(high - low) + 1;
    return low + static_cast<int64_t>(bits_() % count);
  }

  bool Chance(double probability) { return Uniform() < probability; }

  template <typename T>
  T Pick(std::initializer_list<T> choices) {
    const auto last = static_cast<int64_t>(choices.size()) - 1;
    return *std::next(choices.begin(), Between(0, last));
  }

  // Of mean 0 and variance 1, in [-6, 6].
  double Bell() {
    double sum = -6;
    for (int i = 0; i < 12; ++i) sum += Uniform();
    return sum;
  }

 private:
  std::mt19937_64 bits_;
};

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_DICE_H_
