#include "server/rpc/tensors/input.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace attention::rpc {
namespace {

using core::Workspace;

// Elements of one decoding task: long enough to hide the hand-over between
// tasks, short enough for workers to end at about the same time, to let other
// requests in and to notice a cancellation.
constexpr int64_t kDecodeElements = int64_t{1} << 16;

// Elements that are checked right after they were gathered, while they lie in
// the cache next to the processor.
constexpr int64_t kGatherElements = 4096;

// Gathers the data of elements [first, last) of `tensor`.
void GatherElements(const InputTensor& tensor, char* gathered, int64_t first,
                    int64_t last) {
  if (tensor.received == nullptr) return;
  const int64_t size = ElementSize(tensor.dtype());
  tensor.received->Copy(first * size, (last - first) * size,
                        gathered + first * size);
}

// Calls body(first, count) for what is read of elements [first, last).
absl::Status ForEachRun(
    const ReadPart& part, int64_t first, int64_t last,
    const std::function<absl::Status(int64_t, int64_t)>& body) {
  if (part.lengths.empty()) return body(first, last - first);
  while (first < last) {
    const int64_t run = first / part.run;
    const int64_t run_start = run * part.run;
    const int64_t length =
        part.lengths[static_cast<size_t>(run / part.runs_per_item)];
    const int64_t end = std::min(last, run_start + length * part.unit);
    if (first < end) {
      absl::Status status = body(first, end - first);
      if (!status.ok()) return status;
    }
    first = run_start + part.run;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<InputTensor> ReadInputTensor(const ReceivedRequest& request,
                                            const v1::Tensor& tensor,
                                            absl::string_view path,
                                            const CodecLimits& limits) {
  const ScatteredBytes* const received = request.Find(path);
  absl::StatusOr<TensorView> view = TensorView::OfBytes(
      tensor, received == nullptr ? 0 : received->size, path, limits);
  if (!view.ok()) return view.status();
  InputTensor input{*std::move(view)};
  input.received = received;
  return input;
}

template <typename T>
void Input<T>::Take(InputTensor& tensor, PlanMemory& memory) {
  if (tensor.received != nullptr) {
    gathered_ = memory.Take<char>(PlanMemory::For::kInput,
                                  tensor.received->size, gathered_buffer_);
    tensor.Place(gathered_);
  }
  const bool in_place =
      tensor.LiesAs<T>() && (tensor.received != nullptr || tensor.has_values());
  if (in_place) {
    data_ = tensor.InPlace<T>();
    return;
  }
  data_ = converted_ = memory.Take<T>(PlanMemory::For::kWorkspace,
                                      tensor.size(), converted_buffer_);
}

template <typename T>
core::Step Input<T>::DecodeFloats(const InputTensor& tensor,
                                  TensorView::Accept accept,
                                  ReadPart part) const {
  core::Step step;
  step.tasks = (tensor.size() + kDecodeElements - 1) / kDecodeElements;
  step.run = [&tensor, this, accept, part](int64_t task, Workspace&) {
    const auto read = [&](int64_t start, int64_t count) {
      return converted_ == nullptr
                 ? tensor.template Check<T>(start, count, accept)
                 : tensor.template Read<T>(start, count, accept,
                                           converted_ + start);
    };
    const int64_t end = std::min((task + 1) * kDecodeElements, tensor.size());
    absl::Status status;
    for (int64_t first = task * kDecodeElements; first < end && status.ok();
         first += kGatherElements) {
      const int64_t last = std::min(first + kGatherElements, end);
      GatherElements(tensor, gathered_, first, last);
      status = ForEachRun(part, first, last, read);
    }
    return status;
  };
  return step;
}

template <typename T>
core::Step Input<T>::DecodeMask(const InputTensor& tensor) const {
  core::Step step;
  step.tasks = tensor.size() > 0 ? 1 : 0;
  step.run = [&tensor, this](int64_t, Workspace&) {
    GatherElements(tensor, gathered_, 0, tensor.size());
    return converted_ == nullptr ? tensor.CheckBool()
                                 : tensor.ReadBool(converted_);
  };
  return step;
}

template void Input<float>::Take(InputTensor&, PlanMemory&);
template void Input<double>::Take(InputTensor&, PlanMemory&);
template void Input<uint8_t>::Take(InputTensor&, PlanMemory&);
template core::Step Input<float>::DecodeFloats(const InputTensor&,
                                               TensorView::Accept,
                                               ReadPart) const;
template core::Step Input<double>::DecodeFloats(const InputTensor&,
                                                TensorView::Accept,
                                                ReadPart) const;
template core::Step Input<uint8_t>::DecodeMask(const InputTensor&) const;

}  // namespace attention::rpc
