#include "client/cpp/weight_set_disassembler.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/named_tensor.h"
#include "proto/codec.h"
#include "proto/error_text.h"
#include "proto/field_error.h"

namespace attention::client {
namespace {

using absl::StrCat;

// The contract's bound for one chunk; whole elements of every dtype.
constexpr int64_t kMaxChunkBytes = int64_t{1} << 20;

// What a server accepts of a tensor is for the server to say.
constexpr CodecLimits kNoLimits = {int64_t{1} << 62, int64_t{1} << 62};

// Bytes of the data that dtype and shape stand for.
absl::StatusOr<int64_t> DataBytes(const NamedTensor& named) {
  const v1::Tensor& tensor = *named.tensor;
  const std::string field = StrCat("weights.", named.path);
  int64_t bytes = ElementSize(tensor.dtype());
  if (!IsFloat(tensor.dtype())) {
    return FieldError(
        StrCat(field, ".dtype"),
        StrCat("is ", DataTypeName(tensor.dtype()), "; expected a float"));
  }
  for (const int64_t axis : tensor.shape()) {
    if (axis < 0 || __builtin_mul_overflow(bytes, axis, &bytes)) {
      return FieldError(
          StrCat(field, ".shape"),
          StrCat("is ",
                 ShapeString({tensor.shape().data(),
                              static_cast<size_t>(tensor.shape_size())}),
                 "; expected sizes of at least 1 whose bytes can be counted"));
    }
  }
  return bytes;
}

void CopyShape(const v1::Tensor& tensor, v1::Tensor& shape) {
  shape.set_dtype(tensor.dtype());
  *shape.mutable_shape() = tensor.shape();
}

void CopyShapes(const v1::Projection& projection, v1::Projection& shapes) {
  if (projection.has_weight()) {
    CopyShape(projection.weight(), *shapes.mutable_weight());
  }
  if (projection.has_bias()) {
    CopyShape(projection.bias(), *shapes.mutable_bias());
  }
}

// `weights` without elements.
v1::WeightSet ShapesOf(const v1::WeightSet& weights) {
  v1::WeightSet shapes;
  shapes.set_num_heads(weights.num_heads());
  if (weights.has_num_kv_heads()) {
    shapes.set_num_kv_heads(weights.num_kv_heads());
  }
  shapes.set_layout(weights.layout());
  if (weights.has_query()) {
    CopyShapes(weights.query(), *shapes.mutable_query());
  }
  if (weights.has_key()) CopyShapes(weights.key(), *shapes.mutable_key());
  if (weights.has_value()) {
    CopyShapes(weights.value(), *shapes.mutable_value());
  }
  if (weights.has_output()) {
    CopyShapes(weights.output(), *shapes.mutable_output());
  }
  return shapes;
}

// The tensors of a message.
class MessageSource {
 public:
  // INVALID_ARGUMENT unless data or values fit dtype and shape.
  absl::Status Add(const NamedTensor& named) {
    absl::StatusOr<TensorView> view = TensorView::Of(
        *named.tensor, StrCat("weights.", named.path), kNoLimits);
    if (!view.ok()) return view.status();
    tensors_.emplace(named.path, Entry{*std::move(view), named.tensor});
    return absl::OkStatus();
  }

  absl::Status Read(const std::string& path, int64_t offset,
                    absl::Span<char> data) {
    const Entry& entry = tensors_.at(path);
    const std::string* source = &entry.tensor->data();
    if (entry.view.has_values()) {
      absl::Status status = Encode(path, entry);
      if (!status.ok()) return status;
      source = &encoded_.data();
    }
    std::copy_n(source->data() + offset, data.size(), data.data());
    return absl::OkStatus();
  }

 private:
  struct Entry {
    TensorView view;
    const v1::Tensor* tensor;
  };

  // Makes encoded_ the tensor at `path`.
  absl::Status Encode(const std::string& path, const Entry& entry) {
    if (encoded_path_ == path) return absl::OkStatus();
    encoded_path_ = path;
    encoded_.Clear();
    std::vector<double> elements(static_cast<size_t>(entry.view.size()));
    absl::Status status = entry.view.Read<double>(
        0, entry.view.size(), TensorView::Accept::kFinite, elements.data());
    if (!status.ok()) return status;
    return EncodeTensor<double>(elements, entry.view.shape(),
                                entry.view.dtype(), /*as_values=*/false,
                                entry.view.field(), encoded_);
  }

  std::map<std::string, Entry> tensors_;
  std::string encoded_path_;
  v1::Tensor encoded_;
};

}  // namespace

v1::UploadWeightsRequest::Header HeaderOf(
    const v1::SetWeightsRequest& request) {
  v1::UploadWeightsRequest::Header header;
  header.set_name(request.name());
  if (request.has_weights()) {
    *header.mutable_weights() = ShapesOf(request.weights());
  }
  if (request.has_expected_version()) {
    header.set_expected_version(request.expected_version());
  }
  header.set_idempotency_key(request.idempotency_key());
  *header.mutable_labels() = request.labels();
  *header.mutable_annotations() = request.annotations();
  return header;
}

absl::StatusOr<TensorSource> SourceOf(const v1::WeightSet& weights) {
  const auto source = std::make_shared<MessageSource>();
  for (const NamedTensor& named : NamedTensors(weights)) {
    absl::Status status = source->Add(named);
    if (!status.ok()) return status;
  }
  return TensorSource([source](const std::string& tensor, int64_t offset,
                               absl::Span<char> data) {
    return source->Read(tensor, offset, data);
  });
}

absl::StatusOr<WeightSetDisassembler> WeightSetDisassembler::Start(
    v1::UploadWeightsRequest::Header header, TensorSource source) {
  std::vector<Part> parts;
  int64_t total_bytes = 0;
  for (const NamedTensor& named : NamedTensors(header.weights())) {
    const absl::StatusOr<int64_t> bytes = DataBytes(named);
    if (!bytes.ok()) return bytes.status();
    if (__builtin_add_overflow(total_bytes, *bytes, &total_bytes)) {
      return FieldError("weights", "has more bytes than can be counted");
    }
    parts.push_back({named.path, *bytes});
  }
  WeightSetDisassembler disassembler(std::move(header), std::move(parts),
                                     std::move(source));
  disassembler.total_bytes_ = total_bytes;
  return disassembler;
}

WeightSetDisassembler::WeightSetDisassembler(
    v1::UploadWeightsRequest::Header header, std::vector<Part> parts,
    TensorSource source)
    : header_(std::move(header)),
      parts_(std::move(parts)),
      source_(std::move(source)),
      hash_(header_.weights()) {}

absl::StatusOr<bool> WeightSetDisassembler::Next(
    v1::UploadWeightsRequest& message) {
  if (state_ == State::kDone) return false;
  if (state_ == State::kHeader) {
    *message.mutable_header() = std::move(header_);
    state_ = State::kChunks;
    return true;
  }
  if (part_ == parts_.size()) {
    message.set_sha256(hash_.Finish());
    state_ = State::kDone;
    return true;
  }
  absl::Status status = NextChunk(*message.mutable_chunk());
  if (!status.ok()) return status;
  return true;
}

absl::Status WeightSetDisassembler::NextChunk(v1::TensorChunk& chunk) {
  const Part& part = parts_[part_];
  if (offset_ == 0) hash_.BeginTensor();
  const int64_t count = std::min(kMaxChunkBytes, part.size - offset_);
  chunk.set_tensor(part.path);
  chunk.set_offset(offset_);
  std::string& data = *chunk.mutable_data();
  data.resize(static_cast<size_t>(count));
  absl::Status status = source_(part.path, offset_, absl::MakeSpan(data));
  if (!status.ok()) return status;
  hash_.Data(data);
  offset_ += count;
  bytes_ += count;
  if (offset_ == part.size) {
    ++part_;
    offset_ = 0;
  }
  return status;
}

}  // namespace attention::client
