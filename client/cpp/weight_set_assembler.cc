#include "client/cpp/weight_set_assembler.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/canonical_form.h"
#include "proto/codec.h"

namespace attention::client {
namespace {

// The paths of the contract, "query.weight" and so on.
std::map<std::string, v1::Tensor*> TensorsByPath(v1::WeightSet& weights) {
  std::map<std::string, v1::Tensor*> tensors;
  const auto add = [&](const std::string& name, bool present,
                       v1::Projection* projection) {
    if (!present) return;
    tensors[name + ".weight"] = projection->mutable_weight();
    if (projection->has_bias()) {
      tensors[name + ".bias"] = projection->mutable_bias();
    }
  };
  add("query", true, weights.mutable_query());
  add("key", true, weights.mutable_key());
  add("value", true, weights.mutable_value());
  add("output", weights.has_output(),
      weights.has_output() ? weights.mutable_output() : nullptr);
  return tensors;
}

}  // namespace

absl::Status WeightSetAssembler::Take(v1::GetWeightsResponse message) {
  if (!sha256_.empty()) {
    return absl::DataLossError("a message came after the checksum");
  }
  switch (message.part_case()) {
    case v1::GetWeightsResponse::kHeader:
      return TakeHeader(std::move(*message.mutable_header()));
    case v1::GetWeightsResponse::kChunk:
      return TakeChunk(message.chunk());
    case v1::GetWeightsResponse::kSha256:
      sha256_ = std::move(*message.mutable_sha256());
      return absl::OkStatus();
    case v1::GetWeightsResponse::PART_NOT_SET:
      break;
  }
  return absl::DataLossError("a message has no part that this client knows");
}

absl::Status WeightSetAssembler::TakeHeader(
    v1::GetWeightsResponse::Header header) {
  if (has_header_) return absl::DataLossError("a second header came");
  has_header_ = true;
  result_.summary = std::move(*header.mutable_summary());
  result_.weights = std::move(*header.mutable_weights());
  tensors_ = TensorsByPath(result_.weights);
  return absl::OkStatus();
}

absl::Status WeightSetAssembler::TakeChunk(
    const v1::TensorChunk& chunk) {
  const auto found = tensors_.find(chunk.tensor());
  if (found == tensors_.end()) {
    return absl::DataLossError(
        absl::StrCat("a chunk of ", chunk.tensor(),
                     " came, which the header does not name"));
  }
  std::string& data = *found->second->mutable_data();
  if (chunk.offset() != static_cast<int64_t>(data.size())) {
    return absl::DataLossError(
        absl::StrCat(chunk.tensor(), ": a chunk starts at byte ",
                     chunk.offset(), " but ", data.size(), " bytes have come"));
  }
  data.append(chunk.data());
  return absl::OkStatus();
}

absl::StatusOr<StoredWeightSet> WeightSetAssembler::Finish() {
  if (sha256_.empty()) {
    return absl::DataLossError("the answer ended before its checksum");
  }
  const v1::DataType dtype = result_.weights.query().weight().dtype();
  for (const auto& [path, tensor] : tensors_) {
    const absl::StatusOr<TensorView> view =
        TensorView::Of(*tensor, path, {int64_t{1} << 62, int64_t{1} << 62});
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
