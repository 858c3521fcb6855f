#include "proto/codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "proto/all_finite.h"
#include "proto/elements.h"
#include "proto/field_error.h"

namespace attention {
namespace {

// Elements are converted and checked in runs of this many: small enough to stay
// in the first-level cache, large enough to hide the cost of a run.
constexpr int64_t kRun = 1024;

// FieldError about one element.
absl::Status ElementError(const TensorView& tensor, int64_t index,
                          absl::string_view found) {
  const std::string place = IndexString(tensor.shape(), index);
  if (tensor.has_values()) {
    return FieldError(absl::StrCat(tensor.field(), ".values[", index, "]"),
                      absl::StrCat("(index ", place, ") is ", found));
  }
  return FieldError(absl::StrCat(tensor.field(), ".data"),
                    absl::StrCat("at index ", place, " is ", found));
}

// Why one element is refused when it is read as T; OK if it is not. `sent` is
// the number in the message, `in_dtype` what dtype makes of it.
template <typename T>
absl::Status CheckElement(const TensorView& tensor, int64_t index, double sent,
                          double in_dtype, TensorView::Accept accept) {
  const bool or_minus_inf = accept == TensorView::Accept::kFiniteOrMinusInf;
  if (std::isnan(sent) || (std::isinf(sent) && !(or_minus_inf && sent < 0))) {
    return ElementError(
        tensor, index,
        absl::StrCat(NumberString(sent), "; expected a finite number",
                     or_minus_inf ? " or -inf" : ""));
  }
  if (std::isinf(sent)) return absl::OkStatus();
  if (std::isinf(in_dtype)) {
    return ElementError(
        tensor, index,
        absl::StrCat(NumberString(sent), "; expected a number in the range of ",
                     DataTypeName(tensor.dtype())));
  }
  if (std::isinf(static_cast<T>(in_dtype))) {
    return ElementError(tensor, index,
                        absl::StrCat(NumberString(sent),
                                     "; expected a number in the range of "
                                     "FLOAT32, which the computation is in"));
  }
  return absl::OkStatus();
}

// Writes `elements`, rounded to Element, by write(first, rounded, count) in
// runs. Returns the index of the first finite one that Element does not reach,
// elements.size() if there is none.
template <typename Element, typename T, typename Write>
int64_t EncodeElements(absl::Span<const T> elements, Write write) {
  const auto count = static_cast<int64_t>(elements.size());
  Element rounded[kRun];
  for (int64_t done = 0; done < count; done += kRun) {
    const int64_t run = std::min(kRun, count - done);
    const T* source = elements.data() + done;
    int in_range = 1;
    for (int64_t i = 0; i < run; ++i) {
      rounded[i] = RoundTo<Element>(source[i]);
      // As int, without branches: a loop that the compiler vectorises.
      in_range &=
          int{!std::isinf(Widen<T>(rounded[i]))} | int{std::isinf(source[i])};
    }
    if (in_range == 0) {
      for (int64_t i = 0; i < run; ++i) {
        if (std::isinf(Widen<T>(rounded[i])) && !std::isinf(source[i])) {
          return done + i;
        }
      }
    }
    write(done, rounded, run);
  }
  return count;
}

// FieldError about element `refused`; OK if that is beyond the last.
template <typename T>
absl::Status OutOfRange(absl::Span<const T> elements,
                        absl::Span<const int64_t> shape, v1::DataType dtype,
                        absl::string_view field, int64_t refused) {
  if (refused == static_cast<int64_t>(elements.size())) return absl::OkStatus();
  return FieldError(
      field, absl::StrCat("at index ", IndexString(shape, refused), " is ",
                          NumberString(elements[refused]),
                          "; expected a number in the range of ",
                          DataTypeName(dtype)));
}

// The sizes that CodecLimits bounds; product gets the number of elements.
absl::Status CheckShape(absl::Span<const int64_t> shape,
                        absl::string_view field, const CodecLimits& limits,
                        int64_t& product) {
  if (shape.empty() || shape.size() > 4) {
    return FieldError(
        absl::StrCat(field, ".shape"),
        absl::StrCat("has ", shape.size(), " axes; expected 1 to 4"));
  }
  for (size_t axis = 0; axis < shape.size(); ++axis) {
    if (shape[axis] < 0 || shape[axis] > limits.max_axis) {
      return FieldError(absl::StrCat(field, ".shape[", axis, "]"),
                        absl::StrCat("is ", shape[axis], "; expected 0 to ",
                                     limits.max_axis, " (max_axis)"));
    }
  }
  // An axis of 0 counts as 1 here, so that strides cannot overflow either.
  int64_t bound = 1;
  for (const int64_t axis : shape) {
    if (__builtin_mul_overflow(bound, std::max<int64_t>(axis, 1), &bound) ||
        bound > limits.max_elements) {
      return FieldError(
          absl::StrCat(field, ".shape"),
          absl::StrCat("is ", ShapeString(shape),
                       ", whose product is more than the ", limits.max_elements,
                       " elements a tensor may have"));
    }
  }
  product = std::count(shape.begin(), shape.end(), 0) > 0 ? 0 : bound;
  return absl::OkStatus();
}

}  // namespace

int64_t ElementSize(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
      return 8;
    case v1::DATA_TYPE_FLOAT32:
      return 4;
    case v1::DATA_TYPE_FLOAT16:
    case v1::DATA_TYPE_BFLOAT16:
      return 2;
    case v1::DATA_TYPE_BOOL:
      return 1;
    default:
      return 0;
  }
}

bool IsFloat(v1::DataType dtype) { return ElementSize(dtype) > 1; }

std::string DataTypeName(v1::DataType dtype) {
  const std::string& name = v1::DataType_Name(dtype);
  constexpr absl::string_view kPrefix = "DATA_TYPE_";
  return name.empty() ? absl::StrCat(static_cast<int>(dtype))
                      : name.substr(kPrefix.size());
}

absl::StatusOr<TensorView> TensorView::Of(const v1::Tensor& tensor,
                                          absl::string_view field,
                                          const CodecLimits& limits) {
  return Of(tensor, tensor.data(), field, limits);
}

absl::StatusOr<TensorView> TensorView::Of(const v1::Tensor& tensor,
                                          absl::string_view data,
                                          absl::string_view field,
                                          const CodecLimits& limits) {
  absl::StatusOr<TensorView> view =
      OfBytes(tensor, static_cast<int64_t>(data.size()), field, limits);
  if (view.ok()) view->Place(data.data());
  return view;
}

absl::StatusOr<TensorView> TensorView::OfBytes(const v1::Tensor& tensor,
                                               int64_t bytes,
                                               absl::string_view field,
                                               const CodecLimits& limits) {
  const int64_t element_size = ElementSize(tensor.dtype());
  if (element_size == 0) {
    return FieldError(
        absl::StrCat(field, ".dtype"),
        absl::StrCat("is ", DataTypeName(tensor.dtype()),
                     "; expected FLOAT32, FLOAT64, FLOAT16, BFLOAT16 or BOOL"));
  }
  const absl::Span<const int64_t> shape(tensor.shape().data(),
                                        tensor.shape_size());
  int64_t size = 0;
  if (absl::Status checked = CheckShape(shape, field, limits, size);
      !checked.ok()) {
    return checked;
  }

  const int64_t values = tensor.values_size();
  if (bytes > 0 && values > 0) {
    return FieldError(
        field, absl::StrCat("has both data (", bytes, " bytes) and values (",
                            values, " elements); expected one of them"));
  }
  if (size > 0 && bytes == 0 && values == 0) {
    return FieldError(
        field, absl::StrCat("has neither data nor values; shape ",
                            ShapeString(shape), " holds ", size, " elements"));
  }
  if (bytes > 0 && bytes != size * element_size) {
    return FieldError(
        absl::StrCat(field, ".data"),
        absl::StrCat("has ", bytes, " bytes but shape ", ShapeString(shape),
                     " of ", DataTypeName(tensor.dtype()), " takes ",
                     size * element_size));
  }
  if (values > 0 && values != size) {
    return FieldError(absl::StrCat(field, ".values"),
                      absl::StrCat("has ", values, " elements but shape ",
                                   ShapeString(shape), " holds ", size));
  }

  TensorView view;
  view.tensor_ = &tensor;
  view.data_bytes_ = bytes;
  view.field_ = std::string(field);
  view.size_ = size;
  return view;
}

template <typename T>
bool TensorView::LiesAs() const {
  constexpr v1::DataType kDtype =
      std::is_same_v<T, float>    ? v1::DATA_TYPE_FLOAT32
      : std::is_same_v<T, double> ? v1::DATA_TYPE_FLOAT64
                                  : v1::DATA_TYPE_BOOL;
  if (dtype() != kDtype) return false;
  // RepeatedField<double> is an array of doubles.
  return !has_values() || std::is_same_v<T, double>;
}

template <typename T>
const T* TensorView::InPlace() const {
  if (!LiesAs<T>()) return nullptr;
  if constexpr (std::is_same_v<T, double>) {
    if (has_values()) return tensor_->values().data();
  }
  const bool aligned = reinterpret_cast<uintptr_t>(data_) % alignof(T) == 0;
  return aligned ? reinterpret_cast<const T*>(data_) : nullptr;
}

template <typename T>
void TensorView::Convert(int64_t first, int64_t count, T* out) const {
  VisitFloat(dtype(), [&](auto type) {
    using Element = decltype(type);
    if (!has_values()) {
      return WidenBytes<Element>(
          data_ + first * static_cast<int64_t>(sizeof(Element)), count, out);
    }
    const double* values = tensor_->values().data() + first;
    for (int64_t i = 0; i < count; ++i) {
      out[i] = Widen<T>(RoundTo<Element>(values[i]));
    }
  });
}

template <typename T>
absl::Status TensorView::CheckRun(const T* numbers, int64_t first,
                                  int64_t count, Accept accept) const {
  // Where something was rounded, -inf may have been a finite number.
  const bool rounded = has_values() || (dtype() == v1::DATA_TYPE_FLOAT64 &&
                                        std::is_same_v<T, float>);
  const bool all_fine = accept == Accept::kFiniteOrMinusInf && !rounded
                            ? AllFiniteOrMinusInf(numbers, count)
                            : AllFinite(numbers, count);
  if (all_fine) return absl::OkStatus();
  for (int64_t index = first; index < first + count; ++index) {
    double in_dtype = 0;
    Convert(index, 1, &in_dtype);
    const double sent = has_values() ? Sent(index) : in_dtype;
    if (absl::Status status =
            CheckElement<T>(*this, index, sent, in_dtype, accept);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status TensorView::Read(int64_t first, int64_t count, Accept accept,
                              T* out) const {
  for (int64_t done = 0; done < count; done += kRun) {
    const int64_t run = std::min(kRun, count - done);
    Convert(first + done, run, out + done);
    if (absl::Status status = CheckRun(out + done, first + done, run, accept);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status TensorView::Check(int64_t first, int64_t count,
                               Accept accept) const {
  const T* in_place = InPlace<T>();
  T converted[kRun];
  for (int64_t done = 0; done < count; done += kRun) {
    const int64_t run = std::min(kRun, count - done);
    if (in_place == nullptr) Convert(first + done, run, converted);
    const T* numbers =
        in_place == nullptr ? converted : in_place + first + done;
    if (absl::Status status = CheckRun(numbers, first + done, run, accept);
        !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

double TensorView::Sent(int64_t index) const {
  return has_values() ? tensor_->values(static_cast<int>(index))
                      : static_cast<uint8_t>(data_[index]);
}

absl::Status TensorView::CheckBool() const {
  if (!has_values()) {
    unsigned any = 0;
    for (int64_t i = 0; i < data_bytes_; ++i) {
      any |= static_cast<uint8_t>(data_[i]);
    }
    if (any <= 1) return absl::OkStatus();
  }
  for (int64_t index = 0; index < size_; ++index) {
    if (Sent(index) != 0 && Sent(index) != 1) {
      return ElementError(*this, index,
                          absl::StrCat(NumberString(Sent(index)),
                                       "; expected 0 or 1, as dtype is BOOL"));
    }
  }
  return absl::OkStatus();
}

absl::Status TensorView::ReadBool(uint8_t* out) const {
  if (absl::Status status = CheckBool(); !status.ok()) return status;
  if (has_values()) {
    for (const double value : tensor_->values()) *out++ = value != 0;
  } else {
    std::copy_n(data_, data_bytes_, out);
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status EncodeData(absl::Span<const T> elements,
                        absl::Span<const int64_t> shape, v1::DataType dtype,
                        absl::string_view field, char* data) {
  int64_t refused = 0;
  VisitFloat(dtype, [&](auto type) {
    using Element = decltype(type);
    refused = EncodeElements<Element>(
        elements, [data](int64_t first, const Element* rounded, int64_t count) {
          constexpr auto kSize = static_cast<int64_t>(sizeof(Element));
          std::memcpy(data + first * kSize, rounded,
                      static_cast<size_t>(count * kSize));
        });
  });
  return OutOfRange(elements, shape, dtype, field, refused);
}

template <typename T>
absl::Status EncodeTensor(absl::Span<const T> elements,
                          absl::Span<const int64_t> shape, v1::DataType dtype,
                          bool as_values, absl::string_view field,
                          v1::Tensor& tensor) {
  tensor.Clear();
  tensor.set_dtype(dtype);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  if (!as_values) {
    std::string& data = *tensor.mutable_data();
    data.resize(elements.size() * static_cast<size_t>(ElementSize(dtype)));
    return EncodeData(elements, shape, dtype, field, data.data());
  }
  tensor.mutable_values()->Resize(static_cast<int>(elements.size()), 0);
  double* const values = tensor.mutable_values()->mutable_data();
  int64_t refused = 0;
  VisitFloat(dtype, [&](auto type) {
    using Element = decltype(type);
    refused = EncodeElements<Element>(
        elements,
        [values](int64_t first, const Element* rounded, int64_t count) {
          for (int64_t i = 0; i < count; ++i) {
            values[first + i] = Widen<double>(rounded[i]);
          }
        });
  });
  return OutOfRange(elements, shape, dtype, field, refused);
}

template bool TensorView::LiesAs<float>() const;
template bool TensorView::LiesAs<double>() const;
template bool TensorView::LiesAs<uint8_t>() const;
template const float* TensorView::InPlace<float>() const;
template const double* TensorView::InPlace<double>() const;
template const uint8_t* TensorView::InPlace<uint8_t>() const;
template absl::Status TensorView::Read<float>(int64_t, int64_t, Accept,
                                              float*) const;
template absl::Status TensorView::Read<double>(int64_t, int64_t, Accept,
                                               double*) const;
template absl::Status TensorView::Check<float>(int64_t, int64_t, Accept) const;
template absl::Status TensorView::Check<double>(int64_t, int64_t, Accept) const;
template absl::Status EncodeData<float>(absl::Span<const float>,
                                        absl::Span<const int64_t>, v1::DataType,
                                        absl::string_view, char*);
template absl::Status EncodeData<double>(absl::Span<const double>,
                                         absl::Span<const int64_t>,
                                         v1::DataType, absl::string_view,
                                         char*);
template absl::Status EncodeTensor<float>(absl::Span<const float>,
                                          absl::Span<const int64_t>,
                                          v1::DataType, bool, absl::string_view,
                                          v1::Tensor&);
template absl::Status EncodeTensor<double>(absl::Span<const double>,
                                           absl::Span<const int64_t>,
                                           v1::DataType, bool,
                                           absl::string_view, v1::Tensor&);

}  // namespace attention
