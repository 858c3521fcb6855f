// Reads the files of tests/goldens, which generate.py there made with PyTorch.
#ifndef TESTS_GOLDENS_GOLDEN_FILE_H_
#define TESTS_GOLDENS_GOLDEN_FILE_H_

#include <cstdint>
#include <map>
#include <ostream>
#include <string>
#include <vector>

#include "tests/reference/reference_attention.h"

namespace attention::reference {

// A tensor as PyTorch computed it in float64.
struct Expected {
  Tensor<double> value;
  // How far an element computed with unit round-off u may be from real
  // arithmetic, divided by u; tests/goldens/error_bound.py derives it.
  double bound = 0;
};

// One computation.
struct Golden {
  std::string name;
  Problem problem;
  int64_t top_k = 0;  // 0: not asked for
  // By name: output, scores, softcapped, biased, attention_weights,
  // attention_weights_mean, lse, top_k_weights, top_k_indices.
  std::map<std::string, Expected> expected;
};

// For GoogleTest's messages.
inline void PrintTo(const Golden& golden, std::ostream* stream) {
  *stream << golden.name;
}

// Every case of a file. Throws std::exception naming the file if it cannot be
// read, lacks something or has no cases.
std::vector<Golden> ReadGoldens(const std::string& path);

}  // namespace attention::reference

#endif  // TESTS_GOLDENS_GOLDEN_FILE_H_
