// Attention of one of the shapes that are measured.
#ifndef BENCH_KERNEL_CASE_H_
#define BENCH_KERNEL_CASE_H_

#include <cstdint>
#include <string>

#include "bench/normal_numbers.h"
#include "server/core/attention/attention.h"
#include "server/core/pool/compute_pool.h"

namespace attention::bench {

// Self-attention's shape: query, key and value are [batch, heads, n, head_dim].
struct KernelShape {
  int64_t batch = 1;
  int64_t heads = 1;
  int64_t n = 1;
  int64_t head_dim = 1;
  bool causal = false;
  // Standard deviation of query and key.
  double input_scale = 1;

  // Reads "1x12x1024x64", "causal_1x12x1024x64", "steep_1x12x1024x64" (query
  // and key six times N(0, 1)). Throws std::runtime_error.
  static KernelShape FromName(const std::string& name);

  // What must be computed: 4 * head_dim for every pair of a query and a key it
  // attends to.
  double UsefulFlops() const;
};

// A shape with its memory.
class KernelCase {
 public:
  explicit KernelCase(const KernelShape& shape);

  const KernelShape& shape() const { return shape_; }
  core::AttentionInputs<float> inputs() const;
  core::AttentionOptions options() const;
  core::Tensor4<float> output() const { return View(output_); }

  // The steps of the whole computation, validated.
  core::Computation Steps() const;

 private:
  core::Tensor4<float> View(const Numbers& numbers) const;

  const KernelShape shape_;
  const Numbers query_, key_, value_, output_;
};

}  // namespace attention::bench

#endif  // BENCH_KERNEL_CASE_H_
