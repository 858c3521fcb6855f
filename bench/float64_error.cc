#include "bench/float64_error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <vector>

namespace attention::bench {
namespace {

// The worst error of row `row` of all rows of all heads.
double ErrorOfRow(const KernelCase& kernel_case, int64_t row) {
  const KernelShape& shape = kernel_case.shape();
  const auto inputs = kernel_case.inputs();
  const int64_t item = row / shape.n / shape.heads;
  const int64_t head = row / shape.n % shape.heads;
  const int64_t i = row % shape.n;
  const int64_t keys = shape.causal ? i + 1 : shape.n;
  const float* query = inputs.query.Row(item, head, i);
  std::vector<double> weights(static_cast<size_t>(keys));
  for (int64_t j = 0; j < keys; ++j) {
    const float* key = inputs.key.Row(item, head, j);
    double score = 0;
    for (int64_t c = 0; c < shape.head_dim; ++c) {
      score += static_cast<double>(query[c]) * static_cast<double>(key[c]);
    }
    weights[static_cast<size_t>(j)] =
        score / std::sqrt(static_cast<double>(shape.head_dim));
  }
  const double max = *std::max_element(weights.begin(), weights.end());
  double sum = 0;
  std::vector<double> expected(static_cast<size_t>(shape.head_dim));
  for (int64_t j = 0; j < keys; ++j) {
    const double weight = std::exp(weights[static_cast<size_t>(j)] - max);
    sum += weight;
    const float* value = inputs.value.Row(item, head, j);
    for (size_t c = 0; c < expected.size(); ++c) {
      expected[c] += weight * static_cast<double>(value[c]);
    }
  }
  const float* output = kernel_case.output().Row(item, head, i);
  double worst = 0;
  for (size_t c = 0; c < expected.size(); ++c) {
    const double error =
        std::fabs(static_cast<double>(output[c]) - expected[c] / sum);
    if (std::isnan(error)) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, error);
  }
  return worst;
}

}  // namespace

Float64Error ErrorOf(const KernelCase& kernel_case, int64_t max_rows,
                     core::ComputePool& pool) {
  const KernelShape& shape = kernel_case.shape();
  const int64_t all = shape.batch * shape.heads * shape.n;
  int64_t step = (all + max_rows - 1) / max_rows;
  if (step % 2 == 0) ++step;
  const int64_t rows = (all + step - 1) / step;
  std::vector<double> errors(static_cast<size_t>(rows));
  const absl::Status status =
      pool.Run({{rows, [&](int64_t task, core::Workspace&) {
                   errors[static_cast<size_t>(task)] =
                       ErrorOfRow(kernel_case, task * step);
                   return absl::OkStatus();
                 }}});
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return {*std::max_element(errors.begin(), errors.end()), rows};
}

}  // namespace attention::bench
