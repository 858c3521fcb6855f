#include "server/weights/weight_set_builder.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/core/saturating.h"
#include "server/memory/allocated.h"
#include "server/weights/check_finite.h"

namespace attention::weights {

using absl::StrCat;

namespace {

const auto kInsideString = static_cast<int64_t>(std::string().capacity());

// Less is not worth a call of the system.
constexpr int64_t kWorthReleasing = int64_t{1} << 20;

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSetBuilder>> WeightSetBuilder::Start(
    WeightSetVersion::Record record, memory::Ledger& ledger) {
  const absl::StatusOr<WeightSetDims> dims = DimsOf(record.contents);
  if (!dims.ok()) return dims.status();
  std::unique_ptr<WeightSetBuilder> builder(
      new WeightSetBuilder(std::move(record), *dims, ledger));
  if (builder->tensor_bytes_ == std::numeric_limits<int64_t>::max()) {
    return FieldError("weights", "has more bytes than can be counted");
  }
  absl::Status lent = builder->held_.TakeFor(
      "weights", WeightSetVersion::FactsBytes(builder->record_));
  if (!lent.ok()) return lent;
  return builder;
}

WeightSetBuilder::WeightSetBuilder(WeightSetVersion::Record record,
                                   const WeightSetDims& dims,
                                   memory::Ledger& ledger)
    : held_(ledger, memory::Kind::kUploads),
      record_(std::move(record)),
      dims_(dims),
      hash_(record_.contents),
      tensors_(NamedTensors(record_.contents)) {
  for (const NamedTensor& named : tensors_) {
    sizes_.push_back(DataBytes(*named.tensor, record_.contents.dtype));
    tensor_bytes_ = core::SaturatingAdd(tensor_bytes_, sizes_.back());
  }
  hash_.BeginTensor();
}

absl::Status WeightSetBuilder::Grow(std::string& data, int64_t bytes,
                                    int64_t size) {
  const auto capacity = static_cast<int64_t>(data.capacity());
  const auto needed = static_cast<int64_t>(data.size()) + bytes;
  if (needed <= capacity) return absl::OkStatus();
  // Twice as much each time, so that each byte is moved once on average.
  // A string makes no smaller step from its own inside.
  const int64_t larger = std::max(
      std::min(size, std::max(needed, 2 * capacity)), 2 * kInsideString);
  // While it moves both are there. A string has a byte more.
  absl::Status lent = held_.TakeFor("weights", larger + 1);
  if (!lent.ok()) return lent;
  try {
    std::string moved;
    moved.reserve(static_cast<size_t>(larger));
    moved.append(data);
    data = std::move(moved);
  } catch (...) {
    held_.Return(larger + 1);
    throw;
  }
  // What an allocator keeps of it is too small for the next move, and would lie
  // idle until the end.
  if (capacity >= kWorthReleasing) memory::ReleaseToSystem(capacity);
  // The room inside a string's own object is nobody's.
  if (capacity > kInsideString) held_.Return(capacity + 1);
  return absl::OkStatus();
}

absl::Status WeightSetBuilder::CheckPlace(absl::string_view tensor,
                                          int64_t offset,
                                          absl::string_view data) const {
  if (next_ == tensors_.size()) {
    return FieldError("chunk.tensor",
                      StrCat("is ", Quoted(tensor), " but all ", tensor_bytes_,
                             " bytes of the tensors have come; expected the "
                             "sha256"));
  }
  const std::string& path = tensors_[next_].path;
  const auto taken = static_cast<int64_t>(tensors_[next_].tensor->data.size());
  const int64_t size = sizes_[next_];
  if (tensor != path) {
    return FieldError(
        "chunk.tensor",
        StrCat("is ", Quoted(tensor), " but ", taken, " of ", size,
               " bytes of ", Quoted(path),
               " have come; chunks come in the order of the header"));
  }
  if (offset != taken) {
    return FieldError("chunk.offset",
                      StrCat("is ", offset, "; expected ", taken,
                             ", as many bytes as have come of ", Quoted(path)));
  }
  const auto bytes = static_cast<int64_t>(data.size());
  const int64_t element = ElementSize(record_.contents.dtype);
  if (bytes == 0 || bytes % element != 0) {
    return FieldError("chunk.data", StrCat("has ", bytes,
                                           " bytes; expected one or more "
                                           "elements of ",
                                           element, " bytes"));
  }
  if (bytes > size - taken) {
    return FieldError("chunk.data",
                      StrCat("has ", bytes, " bytes from byte ", offset,
                             " on, but ", Quoted(path), " has ", size));
  }
  return absl::OkStatus();
}

absl::Status WeightSetBuilder::Take(absl::string_view tensor, int64_t offset,
                                    absl::string_view data) {
  absl::Status status = CheckPlace(tensor, offset, data);
  if (!status.ok()) return status;
  const NamedTensor& named = tensors_[next_];
  const DType dtype = record_.contents.dtype;
  status = CheckFinite(named.path, named.tensor->shape, dtype,
                       offset / ElementSize(dtype), data);
  if (!status.ok()) return status;
  std::string& target = const_cast<StoredTensor*>(named.tensor)->data;
  status = Grow(target, static_cast<int64_t>(data.size()), sizes_[next_]);
  if (!status.ok()) return status;
  hash_.Data(data);
  target.append(data.data(), data.size());
  taken_bytes_ += static_cast<int64_t>(data.size());
  if (static_cast<int64_t>(target.size()) < sizes_[next_]) return status;
  if (++next_ < tensors_.size()) hash_.BeginTensor();
  return status;
}

absl::Status WeightSetBuilder::CheckComplete() const {
  if (next_ == tensors_.size()) return absl::OkStatus();
  return FieldError("sha256", StrCat("came after ", taken_bytes_, " of ",
                                     tensor_bytes_, " bytes of tensors"));
}

absl::StatusOr<std::unique_ptr<WeightSetVersion>> WeightSetBuilder::Finish(
    absl::string_view sha256) {
  if (record_.sha256.empty()) record_.sha256 = hash_.Finish();
  if (record_.sha256 != sha256) {
    return FieldError(
        absl::StatusCode::kDataLoss, "sha256",
        StrCat("is ", Quoted(sha256), " but what came has ", record_.sha256,
               "; expected the SHA-256 of the canonical form"));
  }
  const int64_t more = version_bytes() - tensor_bytes_;
  absl::Status lent = held_.TakeFor("weights", more);
  if (!lent.ok()) return lent;
  held_.Become(memory::Kind::kWeights);
  return WeightSetVersion::MakeChecked(std::move(record_), dims_,
                                       std::move(held_));
}

}  // namespace attention::weights
