#include "tests/layer_cases/run_core.h"

#include <limits>
#include <utility>
#include <vector>

#include "proto/half.h"
#include "server/core/layer/layer.h"

namespace attention::core {
namespace {

using reference::Input;
using reference::Problem;
using reference::Shape;

// Memory of one tensor, as the core reads or writes it. Never null: a view
// without data would be an absent tensor.
template <typename T>
class Memory {
 public:
  Memory() = default;

  Memory(Shape shape, bool side_by_side, T fill)
      : elements_(static_cast<size_t>(reference::ElementCount(shape)) + 1,
                  fill),
        view_(side_by_side ? HeadsSideBySide(elements_.data(), shape)
                           : Dense(elements_.data(), shape)) {}

  Memory(const Input& input, bool side_by_side)
      : Memory(input.shape, side_by_side, T{0}) {
    ForEach([&](int64_t b, int64_t h, int64_t i, int64_t c) {
      view_.At(b, h, i, c) = static_cast<T>(input.At(b, h, i, c));
    });
  }

  Tensor4<T> view() const { return view_; }

  Input Read() const {
    if (!view_) return {};
    Input input = reference::MakeTensor<double>(view_.shape);
    ForEach([&](int64_t b, int64_t h, int64_t i, int64_t c) {
      input.At(b, h, i, c) = static_cast<double>(view_.At(b, h, i, c));
    });
    return input;
  }

 private:
  template <typename Function>
  void ForEach(Function function) const {
    const auto [batch, heads, rows, columns] = view_.shape;
    for (int64_t b = 0; b < batch; ++b) {
      for (int64_t h = 0; h < heads; ++h) {
        for (int64_t i = 0; i < rows; ++i) {
          for (int64_t c = 0; c < columns; ++c) function(b, h, i, c);
        }
      }
    }
  }

  std::vector<T> elements_;
  Tensor4<T> view_;
};

template <typename T>
ConstTensor4<T> Stretched(const Memory<T>& memory, const Shape& shape) {
  ConstTensor4<T> view = memory.view();
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (view.shape[axis] == 1) view.stride[axis] = 0;
  }
  view.shape = shape;
  return view;
}

std::vector<float> Narrow(const std::vector<double>& elements, float) {
  return {elements.begin(), elements.end()};
}
std::vector<double> Narrow(const std::vector<double>& elements, double) {
  return elements;
}

// A projection and the numbers it refers to.
template <typename T>
struct OwnedProjection {
  explicit OwnedProjection(const reference::Projection& from)
      : weight(Narrow(from.weight, T{})),
        bias(Narrow(from.bias, T{})),
        view{weight.data(), bias.empty() ? nullptr : bias.data(), from.in,
             from.out, from.out_in ? Layout::kOutIn : Layout::kInOut} {}

  std::vector<T> weight;
  std::vector<T> bias;
  Projection<T> view;
};

AttentionOptions OptionsOf(const Problem& problem) {
  AttentionOptions options;
  options.softmax_scale = problem.softmax_scale;
  options.softcap = problem.softcap;
  options.causal = problem.causal;
  options.window_left = problem.window_left;
  options.window_right = problem.window_right;
  switch (problem.alignment) {
    case reference::Alignment::kUnspecified:
      options.alignment = Alignment::kUnspecified;
      break;
    case reference::Alignment::kTopLeft:
      options.alignment = Alignment::kTopLeft;
      break;
    case reference::Alignment::kBottomRight:
      options.alignment = Alignment::kBottomRight;
      break;
  }
  options.query_offsets = problem.query_offsets;
  options.key_lengths = problem.key_lengths;
  if (problem.dropout) {
    options.dropout = {problem.dropout->probability, problem.dropout->seed};
  }
  return options;
}

// A case in the core's terms, with its memory, for one computation.
template <typename T>
class CoreRun {
 public:
  explicit CoreRun(const LayerCase& layer_case)
      : case_(layer_case), problem_(layer_case.problem) {
    MakeInputs();
    if (problem_.weights) MakeWeights();
    MakeOutputs();
  }

  CoreAnswer Run(ComputePool* pool) {
    const AttentionOptions options = OptionsOf(problem_);
    CoreAnswer answer;
    answer.status = problem_.weights
                        ? ValidateLayer(weights_, inputs_, options, outputs_)
                        : ValidateAttention(inputs_, options, outputs_);
    if (!answer.status.ok()) return answer;
    Computation steps = problem_.weights
                            ? LayerSteps(weights_, inputs_, options, outputs_)
                            : AttentionSteps(inputs_, options, outputs_);
    answer.status =
        pool == nullptr ? RunInline(steps) : pool->Run(std::move(steps));
    if (!answer.status.ok()) return answer;
    answer.output = RoundOutput(output_.Read());
    answer.matrix = matrix_.Read();
    answer.top_k_weights = top_k_weights_.Read();
    answer.top_k_indices = top_k_indices_.Read();
    answer.lse = lse_.Read();
    return answer;
  }

 private:
  void MakeInputs() {
    const bool side_by_side = case_.heads_side_by_side;
    query_ = Memory<T>(problem_.query, side_by_side);
    inputs_.query = query_.view();
    inputs_.key = inputs_.query;
    if (!case_.key_is_query) {
      key_ = Memory<T>(problem_.key, side_by_side);
      inputs_.key = key_.view();
    }
    inputs_.value = inputs_.key;
    if (!case_.value_is_key) {
      value_ = Memory<T>(problem_.value, side_by_side);
      inputs_.value = value_.view();
    }
    if (problem_.attend_mask) {
      mask_ = Memory<uint8_t>(*problem_.attend_mask, false);
      inputs_.attend_mask = Stretched(mask_, Matrix());
    }
    if (problem_.bias) {
      bias_ = Memory<T>(*problem_.bias, false);
      inputs_.bias = Stretched(bias_, Matrix());
    }
  }

  void MakeWeights() {
    const reference::Weights& from = *problem_.weights;
    projections_.reserve(4);  // views refer to what is in it
    for (const reference::Projection* projection :
         {&from.query, &from.key, &from.value}) {
      projections_.emplace_back(*projection);
    }
    weights_ = {problem_.num_heads,   problem_.num_kv_heads,
                projections_[0].view, projections_[1].view,
                projections_[2].view, std::nullopt};
    if (from.output) {
      weights_.output = projections_.emplace_back(*from.output).view;
    }
  }

  // NaN everywhere at first, so that what is not written shows.
  void MakeOutputs() {
    constexpr T kUnwritten = std::numeric_limits<T>::quiet_NaN();
    const auto [batch, heads, query_len, kv_len] = Matrix();
    Shape shape = {batch, heads, query_len, problem_.value_dim()};
    if (problem_.weights) {
      const int64_t width = problem_.weights->output
                                ? problem_.weights->output->out
                                : heads * problem_.value_dim();
      shape = {batch, 1, query_len, width};
    }
    output_ = Memory<T>(shape, case_.heads_side_by_side, kUnwritten);
    outputs_.output = output_.view();
    if (case_.stage) {
      matrix_ = Memory<T>({batch, case_.mean ? 1 : heads, query_len, kv_len},
                          false, kUnwritten);
      outputs_.matrix = matrix_.view();
      outputs_.matrix_stage = *case_.stage;
      outputs_.mean_over_heads = case_.mean;
    }
    if (case_.top_k) {
      const Shape slots = {batch, heads, query_len, *case_.top_k};
      top_k_weights_ = Memory<T>(slots, false, kUnwritten);
      top_k_indices_ = Memory<int32_t>(slots, false, -7);
      outputs_.top_k_weights = top_k_weights_.view();
      outputs_.top_k_indices = top_k_indices_.view();
    }
    if (case_.lse) {
      lse_ = Memory<T>({batch, heads, query_len, 1}, false, kUnwritten);
      outputs_.lse = lse_.view();
    }
  }

  Shape Matrix() const {
    return {problem_.batch(), problem_.num_heads, problem_.query_len(),
            problem_.kv_len()};
  }

  Input RoundOutput(Input output) const {
    for (double& element : output.elements) {
      if (case_.dtype == Dtype::kFloat16) {
        element = Float16ToFloat(ToFloat16(element));
      } else if (case_.dtype == Dtype::kBfloat16) {
        element = Bfloat16ToFloat(ToBfloat16(element));
      }
    }
    return output;
  }

  const LayerCase& case_;
  const Problem& problem_;
  Memory<T> query_, key_, value_, bias_;
  Memory<uint8_t> mask_;
  std::vector<OwnedProjection<T>> projections_;
  LayerWeights<T> weights_;
  AttentionInputs<T> inputs_;
  Memory<T> output_, matrix_, top_k_weights_, lse_;
  Memory<int32_t> top_k_indices_;
  AttentionOutputs<T> outputs_;
};

}  // namespace

CoreAnswer RunCore(const LayerCase& layer_case, ComputePool* pool) {
  return layer_case.dtype == Dtype::kFloat64
             ? CoreRun<double>(layer_case).Run(pool)
             : CoreRun<float>(layer_case).Run(pool);
}

}  // namespace attention::core
