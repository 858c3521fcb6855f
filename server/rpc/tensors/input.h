// Tensors of a request, made readable by a step.
#ifndef SERVER_RPC_TENSORS_INPUT_H_
#define SERVER_RPC_TENSORS_INPUT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "proto/codec.h"
#include "proto/split_message.h"
#include "server/core/pool/compute_pool.h"
#include "server/rpc/tensors/buffer_pool.h"
#include "server/rpc/tensors/plan_memory.h"
#include "server/rpc/tensors/received_request.h"

namespace attention::rpc {

// A tensor of a request: what it is, and where its data was received. Refers to
// the request.
struct InputTensor : TensorView {
  const ScatteredBytes* received = nullptr;  // null if it did not come as data
};

// `tensor`, which is at `path` of what was received. Errors as TensorView::Of.
absl::StatusOr<InputTensor> ReadInputTensor(const ReceivedRequest& request,
                                            const v1::Tensor& tensor,
                                            absl::string_view path,
                                            const CodecLimits& limits);

// Which elements of a tensor are read: of each run of `run` elements the first
// lengths[item] * unit, where an item is `runs_per_item` runs. All if `lengths`
// is empty. Refers to them.
struct ReadPart {
  int64_t run = 0;
  int64_t runs_per_item = 1;
  int64_t unit = 1;
  absl::Span<const int64_t> lengths;
};

// The memory of one input. T is float or double, or uint8_t for BOOL.
template <typename T>
class Input {
 public:
  // Takes what gathering and converting `tensor` needs, and places its data. To
  // be called by each run over the memory; `tensor` is the same.
  void Take(InputTensor& tensor, PlanMemory& memory);

  // Holds checked elements once the steps below have run, as far as they are
  // read; never null, since a view without data is absent. REQUIRES: Take.
  const T* data() const { return data_; }

  // A step that gathers, and refuses what TensorView::Read does. Refers to
  // `tensor` and this. T is float or double. REQUIRES: memory was taken.
  core::Step DecodeFloats(const InputTensor& tensor, TensorView::Accept accept,
                          ReadPart part) const;

  // The same; elements are 0 or 1. T is uint8_t. REQUIRES: BOOL.
  core::Step DecodeMask(const InputTensor& tensor) const;

 private:
  const T* data_ = nullptr;
  T* converted_ = nullptr;  // null if the elements lie as T
  char* gathered_ = nullptr;
  Buffer gathered_buffer_;
  Buffer converted_buffer_;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_TENSORS_INPUT_H_
