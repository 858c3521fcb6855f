#include "server/weights/weight_set.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/elements.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/weights/check_finite.h"
#include "server/weights/layer_of.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

// Whether the elements lie as T.
template <typename T>
bool LieAs(const StoredTensor& tensor, DType dtype) {
  constexpr DType kSame =
      std::is_same_v<T, float> ? DType::kFloat32 : DType::kFloat64;
  return dtype == kSame &&
         reinterpret_cast<uintptr_t>(tensor.data.data()) % alignof(T) == 0;
}

int64_t Elements(const StoredTensor& tensor, DType dtype) {
  return static_cast<int64_t>(tensor.data.size()) / ElementSize(dtype);
}

// The elements as T: in place if they lie so, otherwise widened into storage.
template <typename T>
const T* ElementsAs(const StoredTensor& tensor, DType dtype,
                    std::vector<std::vector<T>>& storage) {
  const char* bytes = tensor.data.data();
  if (LieAs<T>(tensor, dtype)) return reinterpret_cast<const T*>(bytes);
  const int64_t count = Elements(tensor, dtype);
  std::vector<T>& numbers = storage.emplace_back(static_cast<size_t>(count));
  VisitFloat(static_cast<int>(dtype), [&](auto type) {
    WidenBytes<decltype(type)>(bytes, count, numbers.data());
  });
  return numbers.data();
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSetVersion>> WeightSetVersion::Make(
    Record record, memory::Loan held) {
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
  return MakeChecked(std::move(record), *dims, std::move(held));
}

absl::StatusOr<std::unique_ptr<WeightSetVersion>> WeightSetVersion::MakeChecked(
    Record record, const WeightSetDims& dims, memory::Loan held) {
  std::unique_ptr<WeightSetVersion> version(
      new WeightSetVersion(std::move(record), dims, std::move(held)));
  absl::Status prepared = version->record_.contents.dtype == DType::kFloat64
                              ? version->As<double>().status()
                              : version->As<float>().status();
  if (!prepared.ok()) return prepared;
  return version;
}

void WeightSetVersion::Number(int64_t version,
                              std::chrono::system_clock::time_point time) {
  record_.version = version;
  record_.create_time = time;
}

int64_t WeightSetVersion::FactsBytes(const Record& record) {
  // Objects, and the entries of a map.
  constexpr int64_t kEach = 256;
  const auto size = [](const std::string& text) {
    return static_cast<int64_t>(text.size());
  };
  int64_t bytes = kEach + size(record.name) + size(record.idempotency_key);
  for (const auto& [key, value] : record.annotations) {
    bytes += kEach + size(key) + size(value);
  }
  return bytes;
}

int64_t WeightSetVersion::tensor_bytes() const {
  int64_t bytes = 0;
  for (const auto& [path, tensor] : NamedTensors(record_.contents)) {
    bytes += static_cast<int64_t>(tensor->data.size());
  }
  return bytes;
}

template <typename T>
absl::Status WeightSetVersion::Prepare(Prepared<T>& prepared) const {
  const WeightSetContents& contents = record_.contents;
  if (std::is_same_v<T, float> && contents.dtype == DType::kFloat64) {
    prepared.status = CheckFitsFloat(contents);
    if (!prepared.status.ok()) return absl::OkStatus();
  }
  // What the type takes that the dtype implies is in held_ already.
  const bool in_double = contents.dtype == DType::kFloat64;
  memory::Loan held = held_.For(memory::Kind::kConvertedWeights);
  if (in_double != std::is_same_v<T, double>) {
    absl::Status lent = held.TakeFor("weight_set", ConvertedBytes<T>());
    if (!lent.ok()) return lent;
  }
  std::vector<std::vector<T>> storage;
  prepared.layer = LayerOf<T>(contents, [&](const StoredTensor& tensor) {
    return ElementsAs<T>(tensor, contents.dtype, storage);
  });
  prepared.storage = std::move(storage);
  prepared.held = std::move(held);
  return absl::OkStatus();
}

template <typename T>
WeightSetVersion::Prepared<T>& WeightSetVersion::prepared() const {
  if constexpr (std::is_same_v<T, float>) {
    return as_float_;
  } else {
    return as_double_;
  }
}

template <typename T>
int64_t WeightSetVersion::ConvertedBytes() const {
  int64_t bytes = 0;
  for (const auto& [path, tensor] : NamedTensors(record_.contents)) {
    if (LieAs<T>(*tensor, record_.contents.dtype)) continue;
    bytes += Elements(*tensor, record_.contents.dtype) * int64_t{sizeof(T)};
  }
  return bytes;
}

template <typename T>
absl::StatusOr<core::LayerWeights<T>> WeightSetVersion::As() const {
  Prepared<T>& made = prepared<T>();
  if (!made.done) {
    const core::MutexLock lock(made.mutex);
    if (!made.done) {
      if (absl::Status lent = Prepare(made); !lent.ok()) return lent;
      made.done = true;
    }
  }
  if (!made.status.ok()) return made.status;
  return made.layer;
}

template absl::StatusOr<core::LayerWeights<float>> WeightSetVersion::As() const;
template absl::StatusOr<core::LayerWeights<double>> WeightSetVersion::As()
    const;

}  // namespace attention::weights
