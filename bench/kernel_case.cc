#include "bench/kernel_case.h"

#include <cinttypes>
#include <cstdio>
#include <stdexcept>

namespace attention::bench {
namespace {

bool TakePrefix(const std::string& prefix, std::string& text) {
  if (!text.starts_with(prefix)) return false;
  text.erase(0, prefix.size());
  return true;
}

int64_t Elements(const KernelShape& shape) {
  return shape.batch * shape.heads * shape.n * shape.head_dim;
}

}  // namespace

KernelShape KernelShape::FromName(const std::string& name) {
  KernelShape shape;
  std::string rest = name;
  shape.causal = TakePrefix("causal_", rest);
  if (TakePrefix("steep_", rest)) shape.input_scale = 6;
  int read = 0;
  if (std::sscanf(
          rest.c_str(), "%" SCNd64 "x%" SCNd64 "x%" SCNd64 "x%" SCNd64 "%n",
          &shape.batch, &shape.heads, &shape.n, &shape.head_dim, &read) != 4 ||
      static_cast<size_t>(read) != rest.size()) {
    throw std::runtime_error("no shape: " + name);
  }
  return shape;
}

double KernelShape::UsefulFlops() const {
  const int64_t pairs = causal ? n * (n + 1) / 2 : n * n;
  return 4.0 * static_cast<double>(batch * heads * head_dim) *
         static_cast<double>(pairs);
}

KernelCase::KernelCase(const KernelShape& shape)
    : shape_(shape),
      query_(NormalNumbers(Elements(shape), 1, shape.input_scale)),
      key_(NormalNumbers(Elements(shape), 2, shape.input_scale)),
      value_(NormalNumbers(Elements(shape), 3)),
      output_(Zeros(Elements(shape))) {}

core::Tensor4<float> KernelCase::View(const Numbers& numbers) const {
  return core::Dense(numbers.get(),
                     {shape_.batch, shape_.heads, shape_.n, shape_.head_dim});
}

core::AttentionInputs<float> KernelCase::inputs() const {
  return {View(query_), View(key_), View(value_), {}, {}};
}

core::AttentionOptions KernelCase::options() const {
  core::AttentionOptions options;
  options.causal = shape_.causal;
  return options;
}

core::Computation KernelCase::Steps() const {
  core::AttentionOutputs<float> outputs;
  outputs.output = View(output_);
  const absl::Status status =
      core::ValidateAttention(inputs(), options(), outputs);
  if (!status.ok()) throw std::runtime_error(status.ToString());
  return core::AttentionSteps(inputs(), options(), outputs);
}

}  // namespace attention::bench
