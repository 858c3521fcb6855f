#include "server/core/layer/layer.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/attention/cost.h"
#include "server/core/attention/key_range.h"
#include "server/core/saturating.h"

namespace attention::core {
namespace {

template <typename T>
AttentionShape ShapeOf(const LayerWeights<T>& weights, int64_t batch,
                       int64_t query_len, int64_t kv_len) {
  return {batch,
          weights.num_heads,
          weights.num_kv_heads,
          query_len,
          kv_len,
          weights.query.out / weights.num_heads,
          weights.value.out / weights.num_kv_heads};
}

template <typename T>
AttentionShape ShapeOf(const LayerWeights<T>& weights,
                       const AttentionInputs<T>& inputs) {
  return ShapeOf(weights, inputs.query.shape[kBatch], inputs.query.shape[kRow],
                 inputs.key.shape[kRow]);
}

// [batch, heads, len, dim] seen as [batch, 1, len, heads * dim].
template <typename T>
Tensor4<T> SideBySideRows(const Tensor4<T>& heads) {
  const int64_t width = heads.shape[kHead] * heads.shape[kColumn];
  return {heads.data,
          {heads.shape[kBatch], 1, heads.shape[kRow], width},
          {heads.stride[kBatch], 0, heads.stride[kRow], 1}};
}

// [batch, 1, len, heads * dim] seen as [batch, heads, len, dim].
template <typename T>
Tensor4<T> SplitHeads(const Tensor4<T>& rows, std::array<int64_t, 4> shape) {
  return {rows.data,
          shape,
          {rows.stride[kBatch], shape[kColumn], rows.stride[kRow], 1}};
}

// Projected tensors, head by head as attention reads them, and the context,
// heads side by side as the output projection does: a layout
// (server/core/pool/arrays.h). Uninitialised until a step fills them.
template <typename T>
struct Intermediates {
  template <typename Taker>
  Intermediates(const AttentionShape& shape, bool with_context, Taker& taker)
      : query(Dense(Take(taker, shape.query()), shape.query())),
        key(Dense(Take(taker, shape.key()), shape.key())),
        value(Dense(Take(taker, shape.value()), shape.value())),
        context(with_context ? HeadsSideBySide(Take(taker, shape.output()),
                                               shape.output())
                             : Tensor4<T>{}) {}

  const Tensor4<T> query, key, value, context;

 private:
  template <typename Taker>
  static T* Take(Taker& taker, const std::array<int64_t, 4>& shape) {
    return taker.template Take<T>(SaturatingMultiply(shape[0], shape[1]),
                                  SaturatingMultiply(shape[2], shape[3]));
  }
};

// The attention between the projections.
template <typename T>
struct Inside {
  Inside(const LayerWeights<T>& weights, const AttentionInputs<T>& inputs,
         const AttentionOutputs<T>& outputs, const Intermediates<T>& between)
      : projected(inputs), context(outputs) {
    projected.query = between.query;
    projected.key = between.key;
    projected.value = between.value;
    context.output =
        weights.output
            ? between.context
            : SplitHeads(outputs.output, ShapeOf(weights, inputs).output());
  }

  AttentionInputs<T> projected;
  AttentionOutputs<T> context;
};

// Query, key and value, one step; what they have in common is read once.
template <typename T>
Step InputProjections(const LayerWeights<T>& weights,
                      const AttentionInputs<T>& inputs,
                      const AttentionOptions& options,
                      const Intermediates<T>& between) {
  using Group = std::pair<ConstTensor4<T>, std::vector<ProjectionOf<T>>>;
  std::vector<Group> groups;
  const auto add = [&groups](const ConstTensor4<T>& input,
                             ProjectionOf<T> projection) {
    for (auto& [shared, projections] : groups) {
      if (shared.data == input.data && shared.shape == input.shape &&
          shared.stride == input.stride) {
        projections.push_back(std::move(projection));
        return;
      }
    }
    groups.emplace_back(input, std::vector<ProjectionOf<T>>());
    groups.back().second.push_back(std::move(projection));
  };
  add(inputs.query, {weights.query, between.query, {}, "query projection"});
  add(inputs.key,
      {weights.key, between.key, options.key_lengths, "key projection"});
  add(inputs.value,
      {weights.value, between.value, options.key_lengths, "value projection"});
  std::vector<Step> steps;
  steps.reserve(groups.size());
  for (auto& [input, projections] : groups) {
    steps.push_back(ProjectionStep<T>(input, std::move(projections)));
  }
  return Together(std::move(steps));
}

template <typename T>
absl::Status RequireWidth(absl::string_view field, const ConstTensor4<T>& input,
                          const Projection<T>& projection) {
  if (input.shape[kColumn] == projection.in) return absl::OkStatus();
  return FieldError(absl::StatusCode::kFailedPrecondition, field,
                    absl::StrCat("has width ", input.shape[kColumn],
                                 " but the weight set projects ", field,
                                 " from width ", projection.in));
}

}  // namespace

template <typename T>
absl::Status ValidateLayer(const LayerWeights<T>& weights,
                           const AttentionInputs<T>& inputs,
                           const AttentionOptions& options,
                           const AttentionOutputs<T>& outputs) {
  absl::Status status = RequireWidth("query", inputs.query, weights.query);
  if (status.ok()) status = RequireWidth("key", inputs.key, weights.key);
  if (status.ok()) status = RequireWidth("value", inputs.value, weights.value);
  if (!status.ok()) return status;

  const AttentionShape shape = ShapeOf(weights, inputs);
  const int64_t width = weights.output ? weights.output->out
                                       : weights.num_heads * shape.value_dim;
  if (outputs.output.shape[kColumn] != width) {
    return FieldError("output",
                      absl::StrCat("has width ", outputs.output.shape[kColumn],
                                   " instead of ", width));
  }
  // The attention in between, by its shapes; nothing is read through these.
  AttentionInputs<T> projected = inputs;
  projected.query.shape = shape.query();
  projected.key.shape = shape.key();
  projected.key.shape[kBatch] = inputs.key.shape[kBatch];
  projected.value.shape = shape.value();
  projected.value.shape[kBatch] = inputs.value.shape[kBatch];
  projected.value.shape[kRow] = inputs.value.shape[kRow];
  AttentionOutputs<T> context = outputs;
  context.output.shape = shape.output();
  return ValidateAttention(projected, options, context);
}

template <typename T>
Computation LayerSteps(const LayerWeights<T>& weights,
                       const AttentionInputs<T>& inputs,
                       const AttentionOptions& options,
                       const AttentionOutputs<T>& outputs,
                       std::shared_ptr<T> memory) {
  const AttentionShape shape = ShapeOf(weights, inputs);
  if (memory == nullptr) {
    const int64_t bytes =
        LayerBytes(weights, shape.batch, shape.query_len, shape.kv_len);
    memory = std::shared_ptr<T>(new T[static_cast<size_t>(bytes) / sizeof(T)],
                                std::default_delete<T[]>());
  }
  Carve carve(memory.get());
  const Intermediates<T> between(shape, weights.output.has_value(), carve);
  const Inside<T> inside(weights, inputs, outputs, between);

  Computation steps;
  steps.push_back(InputProjections(weights, inputs, options, between));
  for (Step& step : AttentionSteps(inside.projected, options, inside.context)) {
    steps.push_back(std::move(step));
  }
  if (weights.output) {
    steps.push_back(ProjectionStep<T>(
        SideBySideRows(between.context),
        {{*weights.output, outputs.output, {}, "output projection"}}));
  }
  for (Step& step : steps) {
    step.run = [memory, run = std::move(step.run)](int64_t task,
                                                   Workspace& workspace) {
      return run(task, workspace);
    };
  }
  return steps;
}

template <typename T>
int64_t LayerBytes(const LayerWeights<T>& weights, int64_t batch,
                   int64_t query_len, int64_t kv_len) {
  return BytesOf<Intermediates<T>>(ShapeOf(weights, batch, query_len, kv_len),
                                   weights.output.has_value());
}

template <typename T>
int64_t LayerWorkspaceBytes(const LayerWeights<T>& weights,
                            const AttentionInputs<T>& inputs,
                            const AttentionOptions& options,
                            const AttentionOutputs<T>& outputs) {
  const AttentionShape shape = ShapeOf(weights, inputs);
  Measure measure;
  const Intermediates<T> between(shape, weights.output.has_value(), measure);
  const Inside<T> inside(weights, inputs, outputs, between);
  int64_t most = std::max(
      {AttentionWorkspaceBytes<T>(inside.projected, options, inside.context),
       ProjectionWorkspaceBytes(shape.query_len, weights.query, between.query),
       ProjectionWorkspaceBytes(shape.kv_len, weights.key, between.key),
       ProjectionWorkspaceBytes(shape.kv_len, weights.value, between.value)});
  if (weights.output) {
    most =
        std::max(most, ProjectionWorkspaceBytes(
                           shape.query_len, *weights.output, outputs.output));
  }
  return most;
}

template <typename T>
int64_t LayerMultiplyAdds(const LayerWeights<T>& weights, int64_t batch,
                          int64_t query_len, int64_t kv_len) {
  const AttentionShape shape = ShapeOf(weights, batch, query_len, kv_len);
  const int64_t query_rows = SaturatingMultiply(batch, query_len);
  const int64_t kv_rows = SaturatingMultiply(batch, kv_len);
  int64_t count = AttentionMultiplyAdds(shape);
  const auto add = [&count](int64_t rows, const Projection<T>& projection) {
    count = SaturatingAdd(
        count, ProjectionMultiplyAdds(rows, projection.in, projection.out));
  };
  add(query_rows, weights.query);
  add(kv_rows, weights.key);
  add(kv_rows, weights.value);
  if (weights.output) add(query_rows, *weights.output);
  return count;
}

template absl::Status ValidateLayer<float>(const LayerWeights<float>&,
                                           const AttentionInputs<float>&,
                                           const AttentionOptions&,
                                           const AttentionOutputs<float>&);
template absl::Status ValidateLayer<double>(const LayerWeights<double>&,
                                            const AttentionInputs<double>&,
                                            const AttentionOptions&,
                                            const AttentionOutputs<double>&);
template Computation LayerSteps<float>(const LayerWeights<float>&,
                                       const AttentionInputs<float>&,
                                       const AttentionOptions&,
                                       const AttentionOutputs<float>&,
                                       std::shared_ptr<float>);
template Computation LayerSteps<double>(const LayerWeights<double>&,
                                        const AttentionInputs<double>&,
                                        const AttentionOptions&,
                                        const AttentionOutputs<double>&,
                                        std::shared_ptr<double>);
template int64_t LayerBytes<float>(const LayerWeights<float>&, int64_t, int64_t,
                                   int64_t);
template int64_t LayerBytes<double>(const LayerWeights<double>&, int64_t,
                                    int64_t, int64_t);
template int64_t LayerWorkspaceBytes<float>(const LayerWeights<float>&,
                                            const AttentionInputs<float>&,
                                            const AttentionOptions&,
                                            const AttentionOutputs<float>&);
template int64_t LayerWorkspaceBytes<double>(const LayerWeights<double>&,
                                             const AttentionInputs<double>&,
                                             const AttentionOptions&,
                                             const AttentionOutputs<double>&);
template int64_t LayerMultiplyAdds<float>(const LayerWeights<float>&, int64_t,
                                          int64_t, int64_t);
template int64_t LayerMultiplyAdds<double>(const LayerWeights<double>&, int64_t,
                                           int64_t, int64_t);

}  // namespace attention::core
