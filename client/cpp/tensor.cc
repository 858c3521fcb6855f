#include "attention/tensor.h"

#include <bit>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "proto/codec.h"
#include "proto/field_error.h"

namespace attention::client {
namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are sent as they lie in memory");

constexpr absl::string_view kField = "tensor";

// The server's limits are its own affair: here only arithmetic must not fail.
constexpr CodecLimits kNoLimits = {int64_t{1} << 62, int64_t{1} << 62};

template <typename T>
v1::Tensor CopyOf(absl::Span<const T> elements, absl::Span<const int64_t> shape,
                  v1::DataType dtype) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(elements.data(), elements.size() * sizeof(T));
  return tensor;
}

// Whether the product of `shape` is `count`.
bool Holds(absl::Span<const int64_t> shape, size_t count) {
  if (shape.empty()) return false;
  int64_t product = 1;
  for (const int64_t axis : shape) {
    if (axis < 0 || __builtin_mul_overflow(product, axis, &product)) {
      return false;
    }
  }
  return static_cast<size_t>(product) == count;
}

template <typename T>
absl::StatusOr<std::vector<T>> ReadElements(const v1::Tensor& tensor) {
  const absl::StatusOr<TensorView> view =
      TensorView::Of(tensor, kField, kNoLimits);
  if (!view.ok()) return view.status();
  if (!IsFloat(view->dtype())) {
    return FieldError(absl::StrCat(kField, ".dtype"),
                      absl::StrCat("is ", DataTypeName(view->dtype()),
                                   "; expected a float dtype"));
  }
  std::vector<T> elements(static_cast<size_t>(view->size()));
  absl::Status status = view->Read(
      0, view->size(), TensorView::Accept::kFiniteOrMinusInf, elements.data());
  if (!status.ok()) return status;
  return elements;
}

}  // namespace

v1::Tensor MakeTensor(absl::Span<const float> elements,
                      absl::Span<const int64_t> shape) {
  return CopyOf(elements, shape, v1::DATA_TYPE_FLOAT32);
}

v1::Tensor MakeTensor(absl::Span<const double> elements,
                      absl::Span<const int64_t> shape) {
  return CopyOf(elements, shape, v1::DATA_TYPE_FLOAT64);
}

absl::StatusOr<v1::Tensor> MakeTensor(absl::Span<const double> elements,
                                      absl::Span<const int64_t> shape,
                                      v1::DataType dtype) {
  if (!IsFloat(dtype)) {
    return FieldError(
        absl::StrCat(kField, ".dtype"),
        absl::StrCat("is ", DataTypeName(dtype), "; expected a float dtype"));
  }
  if (!Holds(shape, elements.size())) {
    return FieldError(absl::StrCat(kField, ".shape"),
                      absl::StrCat("is ", ShapeString(shape), " but there are ",
                                   elements.size(), " elements"));
  }
  v1::Tensor tensor;
  absl::Status status =
      EncodeTensor(elements, shape, dtype, /*as_values=*/false, kField, tensor);
  if (!status.ok()) return status;
  return tensor;
}

v1::Tensor MakeMask(absl::Span<const uint8_t> attend,
                    absl::Span<const int64_t> shape) {
  return CopyOf(attend, shape, v1::DATA_TYPE_BOOL);
}

absl::StatusOr<std::vector<float>> ReadFloats(const v1::Tensor& tensor) {
  return ReadElements<float>(tensor);
}

absl::StatusOr<std::vector<double>> ReadDoubles(const v1::Tensor& tensor) {
  return ReadElements<double>(tensor);
}

absl::StatusOr<std::vector<uint8_t>> ReadMask(const v1::Tensor& tensor) {
  const absl::StatusOr<TensorView> view =
      TensorView::Of(tensor, kField, kNoLimits);
  if (!view.ok()) return view.status();
  if (view->dtype() != v1::DATA_TYPE_BOOL) {
    return FieldError(
        absl::StrCat(kField, ".dtype"),
        absl::StrCat("is ", DataTypeName(view->dtype()), "; expected BOOL"));
  }
  std::vector<uint8_t> attend(static_cast<size_t>(view->size()));
  absl::Status status = view->ReadBool(attend.data());
  if (!status.ok()) return status;
  return attend;
}

}  // namespace attention::client
