// How much of a long test to run.
#ifndef TESTS_LAYER_CASES_TEST_SCALE_H_
#define TESTS_LAYER_CASES_TEST_SCALE_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace attention::core {

// `count` times the environment's ATTENTION_TEST_SCALE, at least 1. Unset: 1,
// or 1/20 in a build with sanitizers, which is that much slower.
inline int64_t Scaled(int64_t count) {
#ifdef ATTENTION_SANITIZED
  double scale = 0.05;
#else
  double scale = 1;
#endif
  const char* set = std::getenv("ATTENTION_TEST_SCALE");
  if (set != nullptr) scale = std::strtod(set, nullptr);
  return std::max<int64_t>(
      1, static_cast<int64_t>(static_cast<double>(count) * scale));
}

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_TEST_SCALE_H_
