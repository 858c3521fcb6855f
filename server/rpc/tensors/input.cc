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

// The data of elements [first, last) of `tensor`.
void GatherElements(const Gather& gather, const TensorView& tensor,
                    int64_t first, int64_t last) {
  if (gather.from == nullptr || gather.from->size == 0) return;
  const int64_t size = ElementSize(tensor.dtype());
  gather.from->Copy(first * size, (last - first) * size,
                    gather.to + first * size);
}

// Calls body(first, count) for what is read of elements [first, last).
absl::Status ForEachRun(
    const ReadPart& part, int64_t first, int64_t last,
    const std::function<absl::Status(int64_t, int64_t)>& body) {
  if (part.read.empty()) return body(first, last - first);
  while (first < last) {
    const int64_t run = first / part.run;
    const int64_t run_start = run * part.run;
    const int64_t end =
        std::min(last, run_start + part.read[run / part.runs_per_item]);
    if (first < end) {
      absl::Status status = body(first, end - first);
      if (!status.ok()) return status;
    }
    first = run_start + part.run;
  }
  return absl::OkStatus();
}

}  // namespace

template <typename T>
Input<T> DecodeFloats(const TensorView& tensor, Gather gather,
                      TensorView::Accept accept, ReadPart part) {
  Input<T> input;
  input.data = tensor.template InPlace<T>();
  T* out = nullptr;
  if (input.data == nullptr) {
    input.buffer = NewArray<T>(tensor.size());
    input.data = out = input.buffer.get();
  }
  input.step.tasks = (tensor.size() + kDecodeElements - 1) / kDecodeElements;
  input.step.run = [&tensor, gather, accept, part = std::move(part), out](
                       int64_t task, Workspace&) {
    const auto read = [&](int64_t start, int64_t count) {
      return out == nullptr
                 ? tensor.template Check<T>(start, count, accept)
                 : tensor.template Read<T>(start, count, accept, out + start);
    };
    const int64_t end = std::min((task + 1) * kDecodeElements, tensor.size());
    absl::Status status;
    for (int64_t first = task * kDecodeElements; first < end && status.ok();
         first += kGatherElements) {
      const int64_t last = std::min(first + kGatherElements, end);
      GatherElements(gather, tensor, first, last);
      status = ForEachRun(part, first, last, read);
    }
    return status;
  };
  return input;
}

Input<uint8_t> DecodeMask(const TensorView& tensor, Gather gather) {
  Input<uint8_t> input;
  input.data = tensor.InPlace<uint8_t>();
  uint8_t* out = nullptr;
  if (input.data == nullptr) {
    input.buffer = NewArray<uint8_t>(tensor.size());
    input.data = out = input.buffer.get();
  }
  input.step.tasks = tensor.size() > 0 ? 1 : 0;
  input.step.run = [&tensor, gather, out](int64_t, Workspace&) {
    GatherElements(gather, tensor, 0, tensor.size());
    return out == nullptr ? tensor.CheckBool() : tensor.ReadBool(out);
  };
  return input;
}

template Input<float> DecodeFloats<float>(const TensorView&, Gather,
                                          TensorView::Accept, ReadPart);
template Input<double> DecodeFloats<double>(const TensorView&, Gather,
                                            TensorView::Accept, ReadPart);

}  // namespace attention::rpc
