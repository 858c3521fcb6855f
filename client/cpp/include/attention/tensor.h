// Elements in memory <-> tensors of the contract. Row-major throughout.
#ifndef ATTENTION_TENSOR_H_
#define ATTENTION_TENSOR_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "attention/v1/attention.pb.h"

namespace attention::client {

// A FLOAT32 tensor. The number of elements must be the product of shape; the
// server refuses a tensor where it is not.
v1::Tensor MakeTensor(absl::Span<const float> elements,
                      absl::Span<const int64_t> shape);

// A FLOAT64 tensor; the server then computes in double.
v1::Tensor MakeTensor(absl::Span<const double> elements,
                      absl::Span<const int64_t> shape);

// A tensor of any float dtype, each element rounded to nearest even.
// INVALID_ARGUMENT, naming the index, if a finite element is beyond the range
// of dtype; also if dtype is not a float, or the number of elements is not the
// product of shape.
absl::StatusOr<v1::Tensor> MakeTensor(absl::Span<const double> elements,
                                      absl::Span<const int64_t> shape,
                                      v1::DataType dtype);

// A BOOL tensor: 1 = attend, 0 = do not.
v1::Tensor MakeMask(absl::Span<const uint8_t> attend,
                    absl::Span<const int64_t> shape);

// The elements of a tensor of any float dtype, however it carries them.
// INVALID_ARGUMENT if bytes and shape do not agree, if an element is NaN or
// +inf, or if a finite element is beyond the range of the result.
absl::StatusOr<std::vector<float>> ReadFloats(const v1::Tensor& tensor);
absl::StatusOr<std::vector<double>> ReadDoubles(const v1::Tensor& tensor);

// The elements of a BOOL tensor as 0 and 1.
absl::StatusOr<std::vector<uint8_t>> ReadMask(const v1::Tensor& tensor);

}  // namespace attention::client

#endif  // ATTENTION_TENSOR_H_
