#include "server/weights/weight_set.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/elements.h"
#include "proto/error_text.h"
#include "server/weights/check_finite.h"
#include "server/weights/give_back_pages.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

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
  const int64_t count =
      static_cast<int64_t>(tensor.data.size()) / ElementSize(dtype);
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

}  // namespace

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
