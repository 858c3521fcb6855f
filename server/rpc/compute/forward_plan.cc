#include "server/rpc/compute/forward_plan.h"

#include <array>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "proto/field_error.h"
#include "proto/wire.h"
#include "server/core/attention/attention.h"
#include "server/core/attention/cost.h"
#include "server/core/layer/layer.h"
#include "server/core/tensor.h"
#include "server/rpc/compute/computed_tensor.h"
#include "server/rpc/compute/inline_weights.h"
#include "server/rpc/compute/parse.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/tensors/input.h"
#include "server/rpc/weights/weight_set_proto.h"
#include "server/weights/layer_of.h"

namespace attention::rpc {
namespace {

using core::Computation;
using core::ConstTensor4;
using core::Step;
using core::Workspace;
using For = PlanMemory::For;
using Version = std::shared_ptr<const weights::WeightSetVersion>;

// Up to here a computation is one task of the pool, together with everything
// that comes before and after it: some tens of microseconds, less than a tile
// of a large one.
constexpr int64_t kOneTaskMultiplyAdds = int64_t{1} << 18;

// And a message up to here, which has to be gathered and checked whatever is
// made of it.
constexpr size_t kOneTaskBytes = size_t{1} << 20;

// Steps of an ordinary request, so that their array is made once.
constexpr size_t kUsualSteps = 12;

// The view that broadcasts a tensor of rank 1, 2 or 4 over the scores.
template <typename T>
ConstTensor4<T> Broadcast(const T* data, absl::Span<const int64_t> axes,
                          const core::AttentionShape& shape) {
  ConstTensor4<T> view{
      data, {shape.batch, shape.num_heads, shape.query_len, shape.kv_len}, {}};
  int64_t stride = 1;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t size = axes[axes.size() - 1 - i];
    if (size != 1) view.stride[view.stride.size() - 1 - i] = stride;
    stride *= size;
  }
  return view;
}

template <typename T>
class ForwardPlan final : public Plan {
 public:
  // `version` is what weight_set resolved to, `weights` what came with the
  // request; none of them, or one.
  ForwardPlan(ComputeRequest&& request, Version version,
              std::optional<InlineWeights>&& weights, ReceivedRequest& received,
              ComputeReply& reply)
      : request_(std::move(request)),
        version_(std::move(version)),
        received_(received),
        reply_(reply) {
    if (weights) inline_.emplace(*std::move(weights));
    if (version_ == nullptr) return;
    // Its shapes; the elements are asked for when they may be converted.
    layer_ = weights::LayerOf<T>(
        version_->record().contents,
        [](const weights::StoredTensor&) { return nullptr; });
  }

  // Measures, and checks what the mathematics accepts.
  absl::Status Check(int threads) {
    PlanMemory memory;
    Take(memory);
    cost_.multiply_adds = MultiplyAdds();
    cost_.in_one_task = cost_.multiply_adds <= kOneTaskMultiplyAdds &&
                        received_.size() <= kOneTaskBytes;
    memory.Count(For::kWorkspace, cost_.in_one_task ? 1 : threads,
                 WorkspaceBytes());
    static_cast<MemoryCost&>(cost_) = memory.cost();
    return layer_
               ? core::ValidateLayer(*layer_, inputs_, request_.options,
                                     outputs_)
               : core::ValidateAttention(inputs_, request_.options, outputs_);
  }

  const Cost& cost() const override { return cost_; }

  absl::Status Allocate(BufferPool& buffers) override {
    if (version_ != nullptr) {
      absl::StatusOr<core::LayerWeights<T>> layer = version_->As<T>();
      if (!layer.ok()) return layer.status();
      layer_ = *std::move(layer);
    }
    PlanMemory memory(buffers);
    Take(memory);
    return absl::OkStatus();
  }

  Computation Steps() override {
    Computation steps;
    steps.reserve(kUsualSteps);
    if (inline_) steps.push_back(inline_->Decode());
    AddInputs(steps);
    steps.push_back({1, [this](int64_t, Workspace&) {
                       received_.Gathered();
                       return absl::OkStatus();
                     }});
    Computation compute = ComputeSteps();
    if (inline_) {
      std::vector<Step> beside;
      beside.push_back(inline_->Hash());
      beside.push_back(std::move(compute.front()));
      compute.front() = core::Together(std::move(beside));
    }
    for (Step& step : compute) steps.push_back(std::move(step));
    AddEncoding(steps);
    return steps;
  }

  void Conclude(const v1::Timing& timing) override {
    if (version_ != nullptr) {
      *reply_.message.mutable_weight_set_used() = VersionToProto(*version_);
    }
    if (inline_) {
      reply_.message.mutable_weight_set_used()->set_sha256(inline_->sha256());
    }
    *reply_.message.mutable_timing() = timing;
  }

 private:
  // All memory of the request. Run to measure, and to take what was measured.
  void Take(PlanMemory& memory) {
    if (inline_) {
      inline_->Take(memory);
      layer_ = inline_->layer();
    }
    TakeInputs(memory);
    TakeOutputs(memory);
    if (layer_) {
      const core::AttentionShape& shape = request_.shape;
      layer_memory_ = memory.Take<char>(
          For::kWorkspace,
          core::LayerBytes(*layer_, shape.batch, shape.query_len, shape.kv_len),
          layer_buffer_);
    }
    // The core's copies of both: of the attention, and of the two projections
    // that obey key_lengths. The request's own is counted by ReceivedRequest.
    const core::AttentionOptions& options = request_.options;
    memory.Count(For::kWorkspace,
                 static_cast<int64_t>(options.query_offsets.size()),
                 sizeof(int64_t));
    memory.Count(For::kWorkspace,
                 static_cast<int64_t>(options.key_lengths.size()),
                 (layer_ ? 3 : 1) * sizeof(int64_t));
  }

  void TakeInputs(PlanMemory& memory) {
    query_.Take(request_.query, memory);
    inputs_.query =
        SplitHeads(query_.data(), request_.query, request_.shape.num_heads);
    const T* key = query_.data();
    if (request_.own_key) {
      key_.Take(request_.key, memory);
      key = key_.data();
    }
    inputs_.key = SplitHeads(key, request_.key, request_.shape.num_kv_heads);
    const T* value = key;
    if (request_.own_value) {
      value_.Take(request_.value, memory);
      value = value_.data();
    }
    inputs_.value =
        SplitHeads(value, request_.value, request_.shape.num_kv_heads);
    if (request_.attend_mask) {
      mask_.Take(*request_.attend_mask, memory);
      inputs_.attend_mask = Broadcast(
          mask_.data(), request_.attend_mask->shape(), request_.shape);
    }
    if (request_.bias) {
      bias_.Take(*request_.bias, memory);
      inputs_.bias =
          Broadcast(bias_.data(), request_.bias->shape(), request_.shape);
    }
  }

  void TakeOutputs(PlanMemory& memory) {
    const auto& [batch, heads, kv_heads, rows, kv_len, head_dim, value_dim] =
        request_.shape;
    tensors_.clear();
    T* const output =
        Add(memory, *reply_.message.mutable_output(), "output",
            request_.WithBatch(request_.heads_apart
                                   ? Axes{heads, rows, value_dim}
                                   : Axes{rows, request_.output_width}),
            request_.dtype());
    if (layer_) {
      outputs_.output =
          core::Dense(output, {batch, 1, rows, request_.output_width});
    } else if (request_.heads_apart) {
      outputs_.output = core::Dense(output, {batch, heads, rows, value_dim});
    } else {
      outputs_.output =
          core::HeadsSideBySide(output, {batch, heads, rows, value_dim});
    }
    if (request_.matrix_stage) {
      const bool mean = request_.mean_over_heads;
      outputs_.matrix_stage = *request_.matrix_stage;
      outputs_.mean_over_heads = mean;
      outputs_.matrix =
          core::Dense(Add(memory, *reply_.message.mutable_attention_matrix(),
                          "attention_matrix",
                          request_.WithBatch(mean ? Axes{rows, kv_len}
                                                  : Axes{heads, rows, kv_len}),
                          request_.compute_dtype()),
                      {batch, mean ? 1 : heads, rows, kv_len});
    }
    if (request_.top_k) TakeTopK(memory);
    if (request_.want_lse) {
      outputs_.lse = core::Dense(
          Add(memory, *reply_.message.mutable_lse(), "lse",
              request_.WithBatch({heads, rows}), request_.compute_dtype()),
          {batch, heads, rows, 1});
    }
  }

  void TakeTopK(PlanMemory& memory) {
    const int64_t k = *request_.top_k;
    const core::AttentionShape& shape = request_.shape;
    const std::array<int64_t, 4> axes = {shape.batch, shape.num_heads,
                                         shape.query_len, k};
    v1::TopK& top_k = *reply_.message.mutable_top_k();
    outputs_.top_k_weights = core::Dense(
        Add(memory, *top_k.mutable_weights(), "top_k.weights",
            request_.WithBatch({shape.num_heads, shape.query_len, k}),
            request_.compute_dtype()),
        axes);
    const int64_t entries = Product({axes.begin(), axes.end()});
    outputs_.top_k_indices = core::Dense(
        memory.Take(For::kResult, entries, *top_k.mutable_indices()), axes);
    // As they are written, twice for a while: zigzag makes 2 i of i.
    memory.Count(For::kText, entries,
                 2 * static_cast<int64_t>(wire::VarintSize(
                         2 * static_cast<uint64_t>(shape.kv_len))));
  }

  T* Add(PlanMemory& memory, v1::Tensor& tensor, absl::string_view path,
         Axes shape, v1::DataType dtype) {
    tensors_.emplace_back(tensor, path, std::move(shape), dtype,
                          request_.reply_as_values());
    tensors_.back().Take(memory, reply_.tensors);
    return tensors_.back().data();
  }

  // Bytes that one worker needs.
  int64_t WorkspaceBytes() const {
    return layer_ ? core::LayerWorkspaceBytes(*layer_, inputs_,
                                              request_.options, outputs_)
                  : core::AttentionWorkspaceBytes(inputs_, request_.options,
                                                  outputs_);
  }

  int64_t MultiplyAdds() const {
    const core::AttentionShape& shape = request_.shape;
    return layer_ ? core::LayerMultiplyAdds(*layer_, shape.batch,
                                            shape.query_len, shape.kv_len)
                  : core::AttentionMultiplyAdds(shape);
  }

  // Makes the request's tensors readable.
  void AddInputs(Computation& steps) const {
    using Accept = TensorView::Accept;
    steps.push_back(query_.DecodeFloats(request_.query, Accept::kFinite, {}));
    if (request_.own_key) {
      steps.push_back(key_.DecodeFloats(request_.key, Accept::kFinite,
                                        Valid(request_.key)));
    }
    if (request_.own_value) {
      steps.push_back(value_.DecodeFloats(request_.value, Accept::kFinite,
                                          Valid(request_.value)));
    }
    if (request_.attend_mask) {
      steps.push_back(mask_.DecodeMask(*request_.attend_mask));
    }
    if (request_.bias) {
      steps.push_back(
          bias_.DecodeFloats(*request_.bias, Accept::kFiniteOrMinusInf, {}));
    }
  }

  Computation ComputeSteps() const {
    if (!layer_) {
      return core::AttentionSteps(inputs_, request_.options, outputs_);
    }
    // This, which the steps refer to anyway, holds the memory.
    const std::shared_ptr<T> memory(std::shared_ptr<void>(),
                                    reinterpret_cast<T*>(layer_memory_));
    return core::LayerSteps(*layer_, inputs_, request_.options, outputs_,
                            memory);
  }

  // Adds the step that writes out what could not be computed in place, if there
  // is anything.
  void AddEncoding(Computation& steps) const {
    std::vector<const ComputedTensor<T>*> left;
    for (const ComputedTensor<T>& tensor : tensors_) {
      if (!tensor.in_place()) left.push_back(&tensor);
    }
    if (left.empty()) return;
    const auto tasks = static_cast<int64_t>(left.size());
    steps.push_back({tasks, [left = std::move(left)](int64_t task, Workspace&) {
                       return left[static_cast<size_t>(task)]->Encode();
                     }});
  }

  // Of key or value, what key_lengths leave.
  ReadPart Valid(const TensorView& tensor) const {
    ReadPart part;
    part.unit = tensor.shape().back();
    part.run = request_.shape.kv_len * part.unit;
    part.runs_per_item = request_.heads_apart ? request_.shape.num_kv_heads : 1;
    part.lengths = request_.options.key_lengths;
    return part;
  }

  // [batch, heads, len, dim] however it lies; one head before a projection.
  ConstTensor4<T> SplitHeads(const T* data, const TensorView& tensor,
                             int64_t heads) const {
    const absl::Span<const int64_t> shape = tensor.shape();
    const int64_t batch = request_.shape.batch;
    const int64_t len = shape[shape.size() - 2];
    if (request_.heads_apart) {
      return core::Dense(data, {batch, heads, len, shape.back()});
    }
    const int64_t split = layer_ ? 1 : heads;
    return core::HeadsSideBySide(data,
                                 {batch, split, len, shape.back() / split});
  }

  ComputeRequest request_;
  const Version version_;
  ReceivedRequest& received_;
  ComputeReply& reply_;
  Cost cost_;
  std::optional<InlineLayer<T>> inline_;
  // The projections; before Allocate their shapes alone.
  std::optional<core::LayerWeights<T>> layer_;
  Buffer layer_buffer_;
  char* layer_memory_ = nullptr;
  Input<T> query_;
  Input<T> key_;
  Input<T> value_;
  Input<T> bias_;
  Input<uint8_t> mask_;
  absl::InlinedVector<ComputedTensor<T>, 1> tensors_;
  core::AttentionInputs<T> inputs_;
  core::AttentionOutputs<T> outputs_;
};

absl::StatusOr<Version> Resolve(const v1::ComputeAttentionRequest& request,
                                const weights::Catalog& catalog) {
  if (!request.has_weight_set()) return Version();
  absl::StatusOr<weights::Which> which = WhichOf(request.weight_set());
  if (!which.ok()) return which.status();
  return catalog.Find(request.weight_set().name(), *which);
}

// The weights that came with a request, if any did.
absl::StatusOr<std::optional<InlineWeights>> ReadWeights(
    const ReceivedRequest& request, const Limits& limits) {
  const v1::ComputeAttentionRequest& message = request.message();
  if (!message.has_weights()) return std::nullopt;
  if (message.has_weight_set()) {
    return FieldError(
        "weights",
        "comes together with weight_set; send weights to compute "
        "with what they are, weight_set for a set that is stored");
  }
  CodecLimits codec_limits;
  codec_limits.max_axis = limits.max_axis;
  return ReadInlineWeights(request, message.weights(), codec_limits);
}

template <typename T>
absl::StatusOr<std::unique_ptr<Plan>> Checked(
    std::unique_ptr<ForwardPlan<T>> plan, int threads) {
  absl::Status status = plan->Check(threads);
  if (!status.ok()) return status;
  return plan;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Plan>> PlanForward(
    ReceivedRequest& request, const weights::Catalog& catalog,
    const Limits& limits, int threads, ComputeReply& reply) {
  absl::StatusOr<std::optional<InlineWeights>> weights =
      ReadWeights(request, limits);
  if (!weights.ok()) return weights.status();
  absl::StatusOr<Version> version = Resolve(request.message(), catalog);
  if (!version.ok()) return version.status();
  Projecting projecting;
  if (*version != nullptr) {
    projecting = {&(*version)->dims(), version->get()};
  } else if (*weights) {
    projecting.dims = &(*weights)->dims;
  }
  absl::StatusOr<ComputeRequest> parsed =
      ParseComputeRequest(request, projecting, limits);
  if (!parsed.ok()) return parsed.status();
  if (parsed->compute_dtype() == v1::DATA_TYPE_FLOAT64) {
    return Checked(std::make_unique<ForwardPlan<double>>(
                       *std::move(parsed), *std::move(version),
                       *std::move(weights), request, reply),
                   threads);
  }
  return Checked(std::make_unique<ForwardPlan<float>>(
                     *std::move(parsed), *std::move(version),
                     *std::move(weights), request, reply),
                 threads);
}

}  // namespace attention::rpc
