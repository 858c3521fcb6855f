// Wire tensor <-> elements: the one place that trusts no byte.
//
// Everything here reads a message that anyone may have sent. An error is a
// FieldError (proto/field_error.h) that names the path below `field`, what was
// expected and what came.
#ifndef PROTO_CODEC_H_
#define PROTO_CODEC_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "attention/v1/attention.pb.h"
#include "proto/error_text.h"

namespace attention {

// Bytes of one element; 0 for an unknown or unspecified dtype.
int64_t ElementSize(v1::DataType dtype);

// FLOAT32, FLOAT64, FLOAT16 or BFLOAT16.
bool IsFloat(v1::DataType dtype);

// "FLOAT32" and so on; the number for an unknown one.
std::string DataTypeName(v1::DataType dtype);

struct CodecLimits {
  int64_t max_axis = int64_t{1} << 24;      // elements along one axis
  int64_t max_elements = int64_t{1} << 31;  // of one tensor
};

// A tensor of a message whose dtype, shape and byte count have been checked
// against each other. Refers to the message, which must outlive it.
class TensorView {
 public:
  // Refuses: an unspecified or unknown dtype; rank 0 or above 4; an axis that
  // is negative or beyond limits.max_axis, even where another is 0; a product
  // beyond limits.max_elements, where an axis of 0 counts as 1, so that no
  // product of some of the axes overflows; a byte count or a number of values
  // that does not match the shape; both data and values, or neither with
  // elements to carry. Allocates nothing.
  static absl::StatusOr<TensorView> Of(const v1::Tensor& tensor,
                                       absl::string_view field,
                                       const CodecLimits& limits = {});

  // The same for a tensor whose data lies outside of the message, at any
  // address, such as in the buffer it was received in.
  static absl::StatusOr<TensorView> Of(const v1::Tensor& tensor,
                                       absl::string_view data,
                                       absl::string_view field,
                                       const CodecLimits& limits);

  // The same for data that is not yet where it can be read: `bytes` of it.
  // REQUIRES: before an element is read, Place.
  static absl::StatusOr<TensorView> OfBytes(const v1::Tensor& tensor,
                                            int64_t bytes,
                                            absl::string_view field,
                                            const CodecLimits& limits);

  // Says where the data is, at any address. Null: nowhere yet.
  void Place(const char* data) { data_ = data; }

  v1::DataType dtype() const { return tensor_->dtype(); }
  absl::Span<const int64_t> shape() const {
    return {tensor_->shape().data(),
            static_cast<size_t>(tensor_->shape_size())};
  }
  int64_t rank() const { return tensor_->shape_size(); }
  int64_t size() const { return size_; }
  const std::string& field() const { return field_; }

  // The elements as they were sent; empty if they came as values. REQUIRES: the
  // data is placed.
  absl::string_view data() const {
    return {data_, static_cast<size_t>(data_bytes_)};
  }

  // Whether the elements came as values rather than data.
  bool has_values() const { return tensor_->values_size() > 0; }

  // The elements in place, if they lie in the message as T and aligned for it;
  // null otherwise, then Read them. T is float, double or uint8_t (BOOL).
  template <typename T>
  const T* InPlace() const;

  // Whether InPlace finds the elements once the data is placed where T may lie.
  template <typename T>
  bool LiesAs() const;

  // What Read and Check refuse beyond an element that dtype or T cannot hold.
  enum class Accept {
    kFinite,            // NaN, +inf and -inf are refused
    kFiniteOrMinusInf,  // NaN and +inf are refused
  };

  // Writes elements [first, first + count) to `out` as float or double.
  // Refuses, by index: what `accept` says; a value beyond the range of dtype,
  // or a finite element beyond the range of T, which would turn into infinity.
  // `out` is undefined after an error.
  // REQUIRES: IsFloat(dtype()); the elements exist; T is float or double.
  template <typename T>
  absl::Status Read(int64_t first, int64_t count, Accept accept, T* out) const;

  // The same refusals for elements that are used in place.
  template <typename T>
  absl::Status Check(int64_t first, int64_t count, Accept accept) const;

  // Writes every element of a BOOL tensor to `out` as 0 or 1; refuses others.
  // REQUIRES: dtype() is BOOL.
  absl::Status ReadBool(uint8_t* out) const;

  // The same refusals for elements that are used in place.
  absl::Status CheckBool() const;

 private:
  // Check of `count` elements from `first` on, which were read as `numbers`.
  template <typename T>
  absl::Status CheckRun(const T* numbers, int64_t first, int64_t count,
                        Accept accept) const;

  // Elements [first, first + count) in T, checking nothing.
  template <typename T>
  void Convert(int64_t first, int64_t count, T* out) const;

  // Element `index` of a tensor of values, or of BOOL, as it was sent.
  double Sent(int64_t index) const;

  const v1::Tensor* tensor_ = nullptr;
  const char* data_ = nullptr;
  int64_t data_bytes_ = 0;
  std::string field_;
  int64_t size_ = 0;
};

// Fills `tensor` with dtype, shape and `elements` rounded to nearest even; as
// values if `as_values`, as data otherwise. An element that is finite and
// beyond the range of dtype is refused as INVALID_ARGUMENT, by index. NaN and
// infinities are encoded as they are.
//
// REQUIRES: elements.size() is the product of shape, and below 2^31 if
// as_values; IsFloat(dtype). T is float or double.
template <typename T>
absl::Status EncodeTensor(absl::Span<const T> elements,
                          absl::Span<const int64_t> shape, v1::DataType dtype,
                          bool as_values, absl::string_view field,
                          v1::Tensor& tensor);

// The same for bytes that lie outside of a message: writes the data to `data`,
// which holds elements.size() times ElementSize(dtype) bytes.
template <typename T>
absl::Status EncodeData(absl::Span<const T> elements,
                        absl::Span<const int64_t> shape, v1::DataType dtype,
                        absl::string_view field, char* data);

}  // namespace attention

#endif  // PROTO_CODEC_H_
