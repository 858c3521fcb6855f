// The core against the reference, case by case.
#ifndef TESTS_LAYER_CASES_PROPERTY_SUITE_H_
#define TESTS_LAYER_CASES_PROPERTY_SUITE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/layer_cases/layer_case.h"
#include "tests/layer_cases/run_core.h"
#include "tests/reference/compare.h"

namespace attention::core {

// What was compared of each output, by its name: "output", "SCORES", ...
using Judgement = std::map<std::string, reference::Comparison>;

// Compares every tensor of `answer` with the reference.
Judgement Judge(const LayerCase& layer_case, const CoreAnswer& answer);

struct SuiteReport {
  int64_t cases = 0;
  Judgement worst;  // all cases together
  // One entry per case that failed: what is wrong, what the case is made of.
  std::vector<std::string> failures;

  // All outputs together.
  reference::Comparison Total() const;
};

// Judges the cases of seeds first_seed .. first_seed + cases - 1. Thread-safe.
SuiteReport RunPropertySuite(Dtype dtype, uint64_t first_seed, int64_t cases);

// Where the seeds of each dtype start, and how many the whole suite has.
inline constexpr uint64_t kFirstPropertySeed = 1;
int64_t PropertyCases(Dtype dtype);

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_PROPERTY_SUITE_H_
