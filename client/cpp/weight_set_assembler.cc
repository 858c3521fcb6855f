#include "client/cpp/weight_set_assembler.h"

#include <exception>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/canonical_form.h"
#include "client/cpp/named_tensor.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

// Bytes of the data that a server's dtype and shape stand for.
absl::StatusOr<int64_t> DataBytes(const std::string& path,
                                  const v1::Tensor& tensor) {
  int64_t bytes = ElementSize(tensor.dtype());
  for (const int64_t axis : tensor.shape()) {
    if (axis < 0 || __builtin_mul_overflow(bytes, axis, &bytes)) {
      return absl::DataLossError(
          absl::StrCat(path, " has a shape that no tensor can have"));
    }
  }
  return bytes;
}

}  // namespace

absl::Status WeightSetAssembler::Take(const v1::GetWeightsResponse& message) {
  if (!sha256_.empty()) {
    return absl::DataLossError("a message came after the checksum");
  }
  switch (message.part_case()) {
    case v1::GetWeightsResponse::kHeader:
      return TakeHeader(message.header());
    case v1::GetWeightsResponse::kChunk:
      return TakeChunk(message.chunk());
    case v1::GetWeightsResponse::kSha256:
      sha256_ = message.sha256();
      return absl::OkStatus();
    case v1::GetWeightsResponse::PART_NOT_SET:
      break;
  }
  return absl::DataLossError("a message has no part that this client knows");
}

absl::Status WeightSetAssembler::TakeHeader(
    const v1::GetWeightsResponse::Header& header) {
  if (has_header_) return absl::DataLossError("a second header came");
  has_header_ = true;
  result_.summary = header.summary();
  result_.weights = header.weights();
  // No weight set is without these; one that a header leaves out is missed.
  for (v1::Projection* projection :
       {result_.weights.mutable_query(), result_.weights.mutable_key(),
        result_.weights.mutable_value()}) {
    projection->mutable_weight();
  }
  for (const NamedTensor& named : NamedTensors(result_.weights)) {
    // Of result_, which is this object's to change.
    absl::Status status =
        AddTensor(named.path, const_cast<v1::Tensor&>(*named.tensor));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WeightSetAssembler::AddTensor(const std::string& path,
                                           v1::Tensor& tensor) {
  const absl::StatusOr<int64_t> size = DataBytes(path, tensor);
  if (!size.ok()) return size.status();
  if (__builtin_add_overflow(total_bytes_, *size, &total_bytes_)) {
    return absl::DataLossError("the tensors have more bytes than there can be");
  }
  try {
    tensor.mutable_data()->reserve(static_cast<size_t>(*size));
  } catch (const std::exception&) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for the ", *size, " bytes of ", path));
  }
  tensors_[path] = {&tensor, *size};
  return absl::OkStatus();
}

absl::Status WeightSetAssembler::TakeChunk(const v1::TensorChunk& chunk) {
  const auto found = tensors_.find(chunk.tensor());
  if (found == tensors_.end()) {
    return absl::DataLossError(
        absl::StrCat("a chunk of ", chunk.tensor(),
                     " came, which the header does not name"));
  }
  const auto& [message, size] = found->second;
  std::string& data = *message->mutable_data();
  const auto taken = static_cast<int64_t>(data.size());
  if (chunk.offset() != taken) {
    return absl::DataLossError(
        absl::StrCat(chunk.tensor(), ": a chunk starts at byte ",
                     chunk.offset(), " but ", taken, " bytes have come"));
  }
  const auto bytes = static_cast<int64_t>(chunk.data().size());
  if (bytes > size - taken) {
    return absl::DataLossError(
        absl::StrCat(chunk.tensor(), ": ", taken, " and then ", bytes,
                     " bytes came but its shape takes ", size));
  }
  data.append(chunk.data());
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<StoredWeightSet> WeightSetAssembler::Finish() {
  if (sha256_.empty()) {
    return absl::DataLossError("the answer ended before its checksum");
  }
  const v1::DataType dtype = result_.weights.query().weight().dtype();
  for (const auto& [path, tensor] : tensors_) {
    const absl::StatusOr<TensorView> view = TensorView::Of(
        *tensor.message, path, {int64_t{1} << 62, int64_t{1} << 62});
    if (!view.ok()) return absl::DataLossError(view.status().message());
    if (view->dtype() != dtype) {
      return absl::DataLossError(absl::StrCat(
          path, " is ", DataTypeName(view->dtype()), " but query.weight is ",
          DataTypeName(dtype), "; a weight set has one dtype"));
    }
  }
  const std::string& stated = result_.summary.version().sha256();
  const std::string computed = CanonicalSha256(result_.weights);
  if (sha256_ != stated || sha256_ != computed) {
    return absl::DataLossError(absl::StrCat(
        "SHA-256 is ", stated, " in the header, ", sha256_, " at the end and ",
        computed, " of the tensors that came"));
  }
  return std::move(result_);
}

}  // namespace attention::client
