#include "client/cpp/files/array.h"

#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/str_cat.h"
#include "client/cpp/files/number_text.h"
#include "proto/elements.h"

namespace attention::files {
namespace {

template <typename Element>
Element ElementOf(const ArrayView& array, int64_t index) {
  Element element;
  std::memcpy(&element,
              array.data.data() + index * static_cast<int64_t>(sizeof(element)),
              sizeof(element));
  return element;
}

template <typename Element>
void AppendBytes(Element element, std::string& data) {
  char bytes[sizeof(element)];
  std::memcpy(bytes, &element, sizeof(element));
  data.append(bytes, sizeof(bytes));
}

// Appends `number` as Element; whether it fits.
template <typename Element>
bool AppendRounded(double number, std::string& data) {
  const auto element = RoundTo<Element>(number);
  AppendBytes(element, data);
  return std::isfinite(Widen<double>(element)) || !std::isfinite(number);
}

// A double beyond float must not be converted: that is undefined.
bool AppendFloat32(double number, std::string& data) {
  // Half way from the largest float to 2^128, where rounding goes to infinity.
  constexpr double kBeyond = 0x1.ffffffp127;
  const bool fits = std::abs(number) < kBeyond || !std::isfinite(number);
  AppendBytes(fits ? static_cast<float>(number)
                   : std::numeric_limits<float>::infinity(),
              data);
  return fits;
}

}  // namespace

absl::string_view ElementTypeName(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "float32";
    case ElementType::kFloat64:
      return "float64";
    case ElementType::kFloat16:
      return "float16";
    case ElementType::kBfloat16:
      return "bfloat16";
    case ElementType::kBool:
      return "bool";
    case ElementType::kInt64:
      return "int64";
  }
  return "";
}

int64_t ElementSize(ElementType type) {
  switch (type) {
    case ElementType::kFloat64:
    case ElementType::kInt64:
      return 8;
    case ElementType::kFloat32:
      return 4;
    case ElementType::kFloat16:
    case ElementType::kBfloat16:
      return 2;
    case ElementType::kBool:
      return 1;
  }
  return 1;
}

absl::Status FileError(absl::string_view source, absl::string_view problem) {
  return absl::InvalidArgumentError(absl::StrCat(source, ": ", problem));
}

std::optional<int64_t> ByteCount(int64_t element_size,
                                 absl::Span<const int64_t> shape) {
  int64_t bytes = element_size;
  bool is_empty = false;
  for (const int64_t axis : shape) {
    if (axis < 0) return std::nullopt;
    is_empty |= axis == 0;
    if (axis > 0 && __builtin_mul_overflow(bytes, axis, &bytes)) {
      return std::nullopt;
    }
  }
  return is_empty ? 0 : bytes;
}

absl::Status CheckLimit(absl::string_view source, absl::string_view what,
                        int64_t bytes, const ReadLimits& limits) {
  if (bytes <= limits.max_array_bytes) return absl::OkStatus();
  return FileError(
      source, absl::StrCat(what, " takes ", bytes,
                           " bytes, more than --max-tensor-bytes, which is ",
                           limits.max_array_bytes));
}

absl::Status CheckBool(absl::string_view source, absl::string_view what,
                       const ArrayView& array) {
  if (array.type != ElementType::kBool) return absl::OkStatus();
  for (size_t i = 0; i < array.data.size(); ++i) {
    const auto byte = static_cast<unsigned char>(array.data[i]);
    if (byte > 1) {
      return FileError(
          source, absl::StrCat("element ", i, " of ", what, " is the byte ",
                               byte, "; a bool is 0 or 1"));
    }
  }
  return absl::OkStatus();
}

double ElementAt(const ArrayView& array, int64_t index) {
  switch (array.type) {
    case ElementType::kFloat32:
      return ElementOf<float>(array, index);
    case ElementType::kFloat64:
      return ElementOf<double>(array, index);
    case ElementType::kFloat16:
      return Widen<double>(ElementOf<Float16>(array, index));
    case ElementType::kBfloat16:
      return Widen<double>(ElementOf<Bfloat16>(array, index));
    case ElementType::kBool:
      return ElementOf<uint8_t>(array, index);
    case ElementType::kInt64:
      return static_cast<double>(ElementOf<int64_t>(array, index));
  }
  return 0;
}

std::string AppendElement(double number, ElementType type, std::string& data) {
  if (type == ElementType::kBool) {
    AppendBytes(static_cast<uint8_t>(number == 1 ? 1 : 0), data);
    return number == 0 || number == 1
               ? ""
               : absl::StrCat("is ", ShortestText(number),
                              "; a mask takes 0 and 1, true and false");
  }
  assert(type != ElementType::kInt64);
  bool fits = true;
  if (type == ElementType::kFloat32) {
    fits = AppendFloat32(number, data);
  } else if (type == ElementType::kFloat16) {
    fits = AppendRounded<Float16>(number, data);
  } else if (type == ElementType::kBfloat16) {
    fits = AppendRounded<Bfloat16>(number, data);
  } else {
    AppendBytes(number, data);
  }
  return fits ? ""
              : absl::StrCat("is ", ShortestText(number), ", which is beyond ",
                             ElementTypeName(type));
}

}  // namespace attention::files
