// Views of tensors in memory. A view owns nothing.
#ifndef SERVER_CORE_TENSOR_H_
#define SERVER_CORE_TENSOR_H_

#include <array>
#include <cstdint>

#include "server/core/saturating.h"

namespace attention::core {

// The four axes of every tensor here, outermost first.
enum Axis { kBatch = 0, kHead = 1, kRow = 2, kColumn = 3 };

// A strided view: element (b, h, i, c) is at
// data[b*stride[0] + h*stride[1] + i*stride[2] + c*stride[3]]. A stride of 0
// repeats one element along its axis (broadcasting). A view without data is an
// absent optional tensor.
template <typename T>
struct Tensor4 {
  T* data = nullptr;
  std::array<int64_t, 4> shape{};   // batch, heads, rows, columns
  std::array<int64_t, 4> stride{};  // in elements

  explicit operator bool() const { return data != nullptr; }

  T* Row(int64_t batch, int64_t head, int64_t row) const {
    return data + batch * stride[kBatch] + head * stride[kHead] +
           row * stride[kRow];
  }
  T& At(int64_t batch, int64_t head, int64_t row, int64_t column) const {
    return Row(batch, head, row)[column * stride[kColumn]];
  }

  // A mutable view is usable wherever a const one is wanted, like a pointer.
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator Tensor4<const T>() const { return {data, shape, stride}; }
};

template <typename T>
using ConstTensor4 = Tensor4<const T>;

// [batch, heads, rows, columns], row-major without gaps. Strides saturate, so
// that views of more than there can be may be made and refused.
template <typename T>
Tensor4<T> Dense(T* data, std::array<int64_t, 4> shape) {
  return {data,
          shape,
          {SaturatingMultiply(shape[1], SaturatingMultiply(shape[2], shape[3])),
           SaturatingMultiply(shape[2], shape[3]), shape[3], 1}};
}

// [batch, rows, heads * columns], row-major without gaps, seen head by head.
template <typename T>
Tensor4<T> HeadsSideBySide(T* data, std::array<int64_t, 4> shape) {
  return {data,
          shape,
          {SaturatingMultiply(shape[1], SaturatingMultiply(shape[2], shape[3])),
           shape[3], SaturatingMultiply(shape[1], shape[3]), 1}};
}

}  // namespace attention::core

#endif  // SERVER_CORE_TENSOR_H_
