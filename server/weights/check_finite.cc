#include "server/weights/check_finite.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "proto/all_finite.h"
#include "proto/elements.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

// Elements that are checked between two looks at whether all were fine.
constexpr int64_t kRun = 1024;

int64_t Elements(absl::string_view data, DType dtype) {
  return static_cast<int64_t>(data.size()) / ElementSize(dtype);
}

// Index of the first element that is NaN or Inf in T; the number of elements if
// there is none. `data` is whole elements.
template <typename T>
int64_t FirstNotFinite(absl::string_view data, DType dtype) {
  const int64_t count = Elements(data, dtype);
  int64_t first = count;
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    using Element = decltype(type);
    T numbers[kRun];
    for (int64_t done = 0; done < count; done += kRun) {
      const int64_t run = std::min(kRun, count - done);
      const char* bytes = data.data() + done * sizeof(Element);
      WidenBytes<Element>(bytes, run, numbers);
      if (AllFinite(numbers, run)) continue;
      const T* found = std::find_if(numbers, numbers + run, [](T number) {
        return !AllFinite(&number, 1);
      });
      first = done + (found - numbers);
      return;
    }
  });
  return first;
}

// Element `index` as it was sent.
std::string ElementString(absl::string_view data, DType dtype, int64_t index) {
  double number = 0;
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    using Element = decltype(type);
    WidenBytes<Element>(data.data() + index * sizeof(Element), 1, &number);
  });
  return NumberString(number);
}

}  // namespace

absl::Status CheckFinite(absl::string_view path,
                         const std::vector<int64_t>& shape, DType dtype,
                         int64_t first, absl::string_view bytes) {
  // In double no element of any dtype overflows.
  const int64_t index = FirstNotFinite<double>(bytes, dtype);
  if (index == Elements(bytes, dtype)) return absl::OkStatus();
  return FieldError(absl::StrCat("weights.", path, ".data"),
                    absl::StrCat("at index ", IndexString(shape, first + index),
                                 " is ", ElementString(bytes, dtype, index),
                                 "; expected a finite number"));
}

absl::Status CheckFinite(const WeightSetContents& contents) {
  for (const auto& [path, tensor] : NamedTensors(contents)) {
    absl::Status status =
        CheckFinite(path, tensor->shape, contents.dtype, 0, tensor->data);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckFitsFloat(const WeightSetContents& contents) {
  for (const auto& [path, tensor] : NamedTensors(contents)) {
    const int64_t index = FirstNotFinite<float>(tensor->data, contents.dtype);
    if (index == Elements(tensor->data, contents.dtype)) continue;
    return FieldError(
        absl::StatusCode::kFailedPrecondition, "weight_set",
        absl::StrCat("has ", ElementString(tensor->data, contents.dtype, index),
                     " in ", path, " at index ",
                     IndexString(tensor->shape, index),
                     ", beyond the range of FLOAT32; with a FLOAT64 query the "
                     "computation is in FLOAT64"));
  }
  return absl::OkStatus();
}

}  // namespace attention::weights
