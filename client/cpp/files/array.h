// Arrays as files hold them. Row-major and little-endian throughout, whatever
// the file has.
#ifndef CLIENT_CPP_FILES_ARRAY_H_
#define CLIENT_CPP_FILES_ARRAY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace attention::files {

// What an array is made of. kInt64 is for indices; no tensor of the service has
// it.
enum class ElementType {
  kFloat32,
  kFloat64,
  kFloat16,
  kBfloat16,
  kBool,
  kInt64
};

// "float32" and so on: numpy's word for it.
absl::string_view ElementTypeName(ElementType type);

// Bytes of one element.
int64_t ElementSize(ElementType type);

// An array in memory. `data` has ElementSize(type) bytes for each element, as
// many as `shape` says; rank 0 has one.
struct Array {
  ElementType type = ElementType::kFloat32;
  std::vector<int64_t> shape;
  std::string data;
};

// The same without owning it. What it refers to must outlive it.
struct ArrayView {
  ElementType type = ElementType::kFloat32;
  absl::Span<const int64_t> shape;
  absl::string_view data;

  ArrayView(ElementType element_type, absl::Span<const int64_t> axes,
            absl::string_view bytes)
      : type(element_type), shape(axes), data(bytes) {}
  // Implicit, as a span is of a vector.
  ArrayView(const Array& array)  // NOLINT(google-explicit-constructor)
      : type(array.type), shape(array.shape), data(array.data) {}

  int64_t size() const {
    return static_cast<int64_t>(data.size()) / ElementSize(type);
  }
};

// What a reader may take of memory, however much a file asks for.
struct ReadLimits {
  // Bytes of one array; and of a whole file that comes through a pipe, since it
  // cannot be read twice.
  int64_t max_array_bytes = int64_t{4} << 30;
};

// An error in a file: "<source>: <problem>".
absl::Status FileError(absl::string_view source, absl::string_view problem);

// Bytes of an array of `shape`; none if an axis is negative or the product is
// beyond int64_t, where an axis of 0 counts as 1.
std::optional<int64_t> ByteCount(int64_t element_size,
                                 absl::Span<const int64_t> shape);

// That `bytes` are within `limits`; the error names `what` of `source`.
absl::Status CheckLimit(absl::string_view source, absl::string_view what,
                        int64_t bytes, const ReadLimits& limits);

// That the bytes of a kBool array are 0 or 1. Other types are always right.
absl::Status CheckBool(absl::string_view source, absl::string_view what,
                       const ArrayView& array);

// Element `index`. Exact but for integers beyond 2^53.
double ElementAt(const ArrayView& array, int64_t index);

// Appends `number`, rounded to nearest even, to the data of an array of `type`.
// Empty if it fits; otherwise what is wrong with it, to read on after its
// place: "is 70000, which is beyond float16". NaN and infinities are taken.
// REQUIRES: a float type or kBool.
std::string AppendElement(double number, ElementType type, std::string& data);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_ARRAY_H_
