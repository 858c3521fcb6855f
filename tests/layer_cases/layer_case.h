// Random computations of attention, all options together.
#ifndef TESTS_LAYER_CASES_LAYER_CASE_H_
#define TESTS_LAYER_CASES_LAYER_CASE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "server/core/attention/attention.h"
#include "tests/reference/reference_attention.h"

namespace attention::core {

// What the elements of query, key, value and output are.
enum class Dtype { kFloat32, kFloat64, kFloat16, kBfloat16 };

const char* DtypeName(Dtype dtype);

// Of the arithmetic: double for FLOAT64, float for the others.
reference::Precision ComputePrecision(Dtype dtype);

// Of the output, where it is rounded once more than the arithmetic.
std::optional<reference::Format> OutputFormat(Dtype dtype);

// A problem, what is asked about it, and how it lies in memory.
struct LayerCase {
  uint64_t seed = 0;
  Dtype dtype = Dtype::kFloat32;
  reference::Problem problem;

  std::optional<Stage> stage;  // of the attention matrix, if wanted
  bool mean = false;
  std::optional<int64_t> top_k;
  bool lse = false;

  bool key_is_query = false;  // the same memory, not only the same numbers
  bool value_is_key = false;
  bool heads_side_by_side = false;  // [batch, len, heads, dim] in memory

  // One line that says what the case is made of.
  std::string Describe() const;
};

// The case that `seed` stands for; the same on every machine. Keys and values
// beyond key_lengths are often NaN. Every number that attention reads is one of
// `dtype`, and small enough that nothing overflows.
LayerCase RandomLayerCase(Dtype dtype, uint64_t seed);

}  // namespace attention::core

#endif  // TESTS_LAYER_CASES_LAYER_CASE_H_
