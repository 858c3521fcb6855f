// A whole layer: d_model 768, 12 heads, four projections with biases in the
// layout of torch.nn.Linear, self-attention.
#ifndef BENCH_LAYER_CASE_H_
#define BENCH_LAYER_CASE_H_

#include <cstdint>

#include "bench/normal_numbers.h"
#include "server/core/layer/layer.h"

namespace attention::bench {

class LayerCase {
 public:
  static constexpr int64_t kWidth = 768;
  static constexpr int64_t kHeads = 12;

  explicit LayerCase(int64_t n);

  // Multiply-adds twice: projections and attention.
  double Flops() const;

  // The steps of the whole computation, validated.
  core::Computation Steps() const;

 private:
  struct Linear {
    explicit Linear(uint64_t seed);
    core::Projection<float> view() const;
    Numbers weight, bias;
  };

  const int64_t n_;
  const Linear query_, key_, value_, output_projection_;
  const Numbers input_, output_;
};

}  // namespace attention::bench

#endif  // BENCH_LAYER_CASE_H_
