#include "server/weights/weight_set.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/all_finite.h"
#include "proto/elements.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/weights/give_back_pages.h"
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

// The elements as T: in place if they lie so, otherwise widened into storage.
template <typename T>
const T* ElementsAs(const StoredTensor& tensor, DType dtype,
                    std::vector<std::vector<T>>& storage) {
  constexpr DType kSame =
      std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;
  const char* bytes = tensor.data.data();
  if (dtype == kSame && reinterpret_cast<uintptr_t>(bytes) % alignof(T) == 0) {
    return reinterpret_cast<const T*>(bytes);
  }
  const int64_t count = Elements(tensor.data, dtype);
  std::vector<T>& numbers = storage.emplace_back(static_cast<size_t>(count));
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    WidenBytes<decltype(type)>(bytes, count, numbers.data());
  });
  return numbers.data();
}

template <typename T>
core::Projection<T> ProjectionAs(const StoredProjection& stored,
                                 const WeightSetContents& contents,
                                 std::vector<std::vector<T>>& storage) {
  const bool in_out = contents.layout == core::Layout::kInOut;
  core::Projection<T> projection;
  projection.weight = ElementsAs<T>(stored.weight, contents.dtype, storage);
  if (stored.bias.has_value()) {
    projection.bias = ElementsAs<T>(*stored.bias, contents.dtype, storage);
  }
  projection.in = stored.weight.shape[in_out ? 0 : 1];
  projection.out = stored.weight.shape[in_out ? 1 : 0];
  projection.layout = contents.layout;
  return projection;
}

// FAILED_PRECONDITION if a finite FLOAT64 element is infinite as a float.
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

}  // namespace

int64_t ElementSize(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return 8;
    case DType::kFloat32:
      return 4;
    case DType::kFloat16:
    case DType::kBfloat16:
      return 2;
  }
  return 0;
}

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

absl::StatusOr<std::unique_ptr<WeightSetVersion>> WeightSetVersion::Make(
    Record record) {
  absl::StatusOr<WeightSetDims> dims = CheckShapes(record.contents);
  if (!dims.ok()) return dims.status();
  if (absl::Status finite = CheckFinite(record.contents); !finite.ok()) {
    return finite;
  }
  std::string sha256 = CanonicalSha256(record.contents);
  if (!record.sha256.empty() && record.sha256 != sha256) {
    return absl::DataLossError(
        absl::StrCat("weight set ", Quoted(record.name), " version ",
                     record.version, " was stored with sha256 ", record.sha256,
                     " but its contents have ", sha256));
  }
  record.sha256 = std::move(sha256);
  return MakeChecked(std::move(record), *dims);
}

absl::StatusOr<std::unique_ptr<WeightSetVersion>> WeightSetVersion::MakeChecked(
    Record record, const WeightSetDims& dims) {
  std::unique_ptr<WeightSetVersion> version(
      new WeightSetVersion(std::move(record)));
  version->dims_ = dims;
  absl::Status prepared = version->record_.contents.dtype == DType::kFloat64
                              ? version->As<double>().status()
                              : version->As<float>().status();
  if (!prepared.ok()) return prepared;
  return version;
}

WeightSetVersion::~WeightSetVersion() { GiveBackPages(record_.contents); }

void WeightSetVersion::Number(int64_t version,
                              std::chrono::system_clock::time_point time) {
  record_.version = version;
  record_.create_time = time;
}

int64_t WeightSetVersion::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [path, tensor] : NamedTensors(record_.contents)) {
    bytes += static_cast<int64_t>(tensor->data.size());
  }
  return bytes;
}

template <typename T>
void WeightSetVersion::Prepare(Prepared<T>& prepared) const {
  const WeightSetContents& contents = record_.contents;
  if (std::is_same_v<T, float> && contents.dtype == DType::kFloat64) {
    prepared.status = CheckFitsFloat(contents);
    if (!prepared.status.ok()) return;
  }
  prepared.storage.clear();  // of an attempt that ran out of memory
  prepared.layer.num_heads = contents.num_heads;
  prepared.layer.num_kv_heads = contents.num_kv_heads;
  prepared.layer.query =
      ProjectionAs<T>(contents.query, contents, prepared.storage);
  prepared.layer.key =
      ProjectionAs<T>(contents.key, contents, prepared.storage);
  prepared.layer.value =
      ProjectionAs<T>(contents.value, contents, prepared.storage);
  if (contents.output.has_value()) {
    prepared.layer.output =
        ProjectionAs<T>(*contents.output, contents, prepared.storage);
  }
}

template <typename T>
absl::StatusOr<core::LayerWeights<T>> WeightSetVersion::As() const {
  Prepared<T>* prepared = nullptr;
  if constexpr (std::is_same_v<T, float>) {
    prepared = &as_float_;
  } else {
    prepared = &as_double_;
  }
  std::call_once(prepared->once, [&] { Prepare(*prepared); });
  if (!prepared->status.ok()) return prepared->status;
  return prepared->layer;
}

template absl::StatusOr<core::LayerWeights<float>> WeightSetVersion::As() const;
template absl::StatusOr<core::LayerWeights<double>> WeightSetVersion::As()
    const;

}  // namespace attention::weights
