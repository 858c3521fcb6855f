#include "bench/layer_case.h"

#include <cmath>
#include <stdexcept>

namespace attention::bench {

LayerCase::Linear::Linear(uint64_t seed)
    : weight(NormalNumbers(kWidth * kWidth, seed,
                           1 / std::sqrt(static_cast<double>(kWidth)))),
      bias(NormalNumbers(kWidth, seed + 100)) {}

core::Projection<float> LayerCase::Linear::view() const {
  return {weight.get(), bias.get(), kWidth, kWidth, core::Layout::kOutIn};
}

LayerCase::LayerCase(int64_t n)
    : n_(n),
      query_(1),
      key_(2),
      value_(3),
      output_projection_(4),
      input_(NormalNumbers(n * kWidth, 5)),
      output_(Zeros(n * kWidth)) {}

double LayerCase::Flops() const {
  const auto n = static_cast<double>(n_);
  const auto width = static_cast<double>(kWidth);
  return 4 * 2 * n * width * width + 4 * n * n * width;
}

core::Computation LayerCase::Steps() const {
  const core::LayerWeights<float> weights{
      kHeads,      kHeads,        query_.view(),
      key_.view(), value_.view(), output_projection_.view()};
  const core::ConstTensor4<float> input =
      core::Dense<const float>(input_.get(), {1, 1, n_, kWidth});
  const core::AttentionInputs<float> inputs{input, input, input, {}, {}};
  core::AttentionOutputs<float> outputs;
  outputs.output = core::Dense(output_.get(), {1, 1, n_, kWidth});
  const absl::Status status = core::ValidateLayer(weights, inputs, {}, outputs);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return core::LayerSteps(weights, inputs, {}, outputs);
}

}  // namespace attention::bench
