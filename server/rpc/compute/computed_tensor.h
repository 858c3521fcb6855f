// A tensor of a reply, from the memory it is computed in to its bytes.
#ifndef SERVER_RPC_COMPUTE_COMPUTED_TENSOR_H_
#define SERVER_RPC_COMPUTE_COMPUTED_TENSOR_H_

#include <cstdint>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "attention/v1/attention.pb.h"
#include "proto/codec.h"
#include "server/core/saturating.h"
#include "server/rpc/compute/reply.h"
#include "server/rpc/compute/request.h"
#include "server/rpc/tensors/plan_memory.h"

namespace attention::rpc {

// Elements of a shape; saturating.
inline int64_t Product(const Axes& shape) {
  int64_t product = 1;
  for (const int64_t axis : shape) {
    product = core::SaturatingMultiply(product, axis);
  }
  return product;
}

// A tensor of the reply that is computed in T: in its own bytes where they can
// hold T, in a buffer that Encode writes out elsewhere.
template <typename T>
class ComputedTensor {
 public:
  // `path` is a constant.
  ComputedTensor(v1::Tensor& tensor, absl::string_view path, Axes shape,
                 v1::DataType dtype, bool as_values)
      : tensor_(tensor),
        path_(path),
        shape_(std::move(shape)),
        dtype_(dtype),
        as_values_(as_values) {}

  // Takes what the tensor needs, and data that goes out beside its message into
  // `sent`.
  void Take(PlanMemory& memory, absl::InlinedVector<ReplyTensor, 1>& sent) {
    const int64_t elements = Product(shape_);
    if (as_values_) {
      memory.Take(PlanMemory::For::kResult, elements,
                  *tensor_.mutable_values());
      memory.Count(PlanMemory::For::kText, elements, sizeof(double));
    } else {
      Buffer buffer;
      bytes_ = memory.Take<char>(
          PlanMemory::For::kResult,
          core::SaturatingMultiply(elements, ElementSize(dtype_)), buffer);
      if (memory.takes()) sent.push_back({path_, std::move(buffer)});
    }
    in_place_ = !as_values_ && ElementSize(dtype_) == sizeof(T);
    data_ = in_place_ ? reinterpret_cast<T*>(bytes_)
                      : memory.Take<T>(PlanMemory::For::kWorkspace, elements,
                                       buffer_);
    if (memory.takes() && !as_values_) {
      tensor_.set_dtype(dtype_);
      tensor_.mutable_shape()->Assign(shape_.begin(), shape_.end());
    }
  }

  T* data() const { return data_; }
  bool in_place() const { return in_place_; }

  absl::Status Encode() const {
    const auto elements =
        absl::MakeConstSpan(data_, static_cast<size_t>(Product(shape_)));
    return as_values_
               ? EncodeTensor<T>(elements, shape_, dtype_, true, path_, tensor_)
               : EncodeData<T>(elements, shape_, dtype_, path_, bytes_);
  }

 private:
  v1::Tensor& tensor_;
  absl::string_view path_;
  Axes shape_;
  v1::DataType dtype_;
  bool as_values_;
  bool in_place_ = false;
  char* bytes_ = nullptr;  // of the reply; null if as_values_
  Buffer buffer_;
  T* data_ = nullptr;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_COMPUTE_COMPUTED_TENSOR_H_
