#include "server/rpc/weights/weight_set_proto.h"

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"

namespace attention::rpc {
namespace {

using absl::StrCat;

absl::StatusOr<core::Layout> LayoutFromProto(v1::Layout layout,
                                             absl::string_view field) {
  switch (layout) {
    case v1::LAYOUT_IN_OUT:
      return core::Layout::kInOut;
    case v1::LAYOUT_OUT_IN:
      return core::Layout::kOutIn;
    default:
      return FieldError(field,
                        StrCat("is ", static_cast<int>(layout),
                               "; expected LAYOUT_IN_OUT (x * W) or "
                               "LAYOUT_OUT_IN (x * W^T, torch.nn.Linear)"));
  }
}

absl::StatusOr<weights::Distribution> DistributionFromProto(
    v1::Initializer::Distribution distribution) {
  switch (distribution) {
    case v1::Initializer::DISTRIBUTION_UNIFORM:
      return weights::Distribution::kUniform;
    case v1::Initializer::DISTRIBUTION_LINEAR:
      return weights::Distribution::kLinear;
    case v1::Initializer::DISTRIBUTION_XAVIER_UNIFORM:
      return weights::Distribution::kXavierUniform;
    default:
      return FieldError("initializer.distribution",
                        StrCat("is ", static_cast<int>(distribution),
                               "; expected DISTRIBUTION_UNIFORM, "
                               "DISTRIBUTION_LINEAR or "
                               "DISTRIBUTION_XAVIER_UNIFORM"));
  }
}

// Reads the projections of one weight set, which share a dtype.
class ContentsReader {
 public:
  // Whether the tensors carry their elements, or those come later.
  enum class Elements { kCarried, kLater };

  ContentsReader(Elements elements, const CodecLimits& limits)
      : elements_(elements), limits_(limits) {}

  // Of tensors whose elements stay where they were received; `tensors` gets
  // them.
  ContentsReader(const ReceivedRequest& request, const CodecLimits& limits,
                 std::vector<InputTensor>& tensors)
      : elements_(Elements::kCarried),
        limits_(limits),
        request_(&request),
        tensors_(&tensors) {}

  absl::Status Projection(bool present, const v1::Projection& message,
                          absl::string_view field,
                          weights::StoredProjection& out) {
    if (!present) return FieldError(field, "is required");
    const std::string weight = StrCat(field, ".weight");
    if (!message.has_weight()) return FieldError(weight, "is required");
    absl::Status status = Tensor(message.weight(), weight, out.weight);
    if (!status.ok() || !message.has_bias()) return status;
    out.bias.emplace();
    return Tensor(message.bias(), StrCat(field, ".bias"), *out.bias);
  }

  weights::DType dtype() const {
    return static_cast<weights::DType>(static_cast<int>(dtype_));
  }

 private:
  absl::Status Tensor(const v1::Tensor& message, const std::string& field,
                      weights::StoredTensor& out) {
    if (elements_ == Elements::kLater) return Header(message, field, out);
    return request_ != nullptr ? Received(message, field, out)
                               : Carried(message, field, out);
  }

  absl::Status Received(const v1::Tensor& message, const std::string& field,
                        weights::StoredTensor& out) {
    absl::StatusOr<InputTensor> tensor =
        ReadInputTensor(*request_, message, field, limits_);
    if (!tensor.ok()) return tensor.status();
    absl::Status status = CheckDataType(tensor->dtype(), field);
    if (!status.ok()) return status;
    out.shape.assign(tensor->shape().begin(), tensor->shape().end());
    tensors_->push_back(*std::move(tensor));
    return status;
  }

  absl::Status Header(const v1::Tensor& message, const std::string& field,
                      weights::StoredTensor& out) {
    for (const auto& [carried, name] :
         {std::pair(!message.data().empty(), ".data"),
          std::pair(message.values_size() > 0, ".values")}) {
      if (!carried) continue;
      return FieldError(StrCat(field, name),
                        "is set; expected none in the header, the elements "
                        "come in chunks");
    }
    absl::Status status = CheckDataType(message.dtype(), field);
    if (!status.ok()) return status;
    for (int axis = 0; axis < message.shape_size(); ++axis) {
      if (message.shape(axis) <= limits_.max_axis) continue;
      return FieldError(StrCat(field, ".shape[", axis, "]"),
                        StrCat("is ", message.shape(axis), "; expected 1 to ",
                               limits_.max_axis, " (max_axis)"));
    }
    out.shape.assign(message.shape().begin(), message.shape().end());
    return status;
  }

  absl::Status Carried(const v1::Tensor& message, const std::string& field,
                       weights::StoredTensor& out) {
    absl::StatusOr<TensorView> view = TensorView::Of(message, field, limits_);
    if (!view.ok()) return view.status();
    absl::Status status = CheckDataType(view->dtype(), field);
    if (!status.ok()) return status;
    out.shape.assign(view->shape().begin(), view->shape().end());
    if (!view->has_values()) {
      out.data = message.data();
      return absl::OkStatus();
    }
    std::vector<double> elements(static_cast<size_t>(view->size()));
    status = view->Read<double>(0, view->size(), TensorView::Accept::kFinite,
                                elements.data());
    if (!status.ok()) return status;
    v1::Tensor rounded;
    status = EncodeTensor<double>(elements, out.shape, dtype_,
                                  /*as_values=*/false, field, rounded);
    out.data = std::move(*rounded.mutable_data());
    return status;
  }

  // That it is a float, and that of the tensors before.
  absl::Status CheckDataType(v1::DataType dtype, const std::string& field) {
    if (!IsFloat(dtype)) {
      return FieldError(
          StrCat(field, ".dtype"),
          StrCat("is ", DataTypeName(dtype), "; expected a float"));
    }
    if (first_field_.empty()) {
      first_field_ = field;
      dtype_ = dtype;
    }
    if (dtype == dtype_) return absl::OkStatus();
    return FieldError(
        StrCat(field, ".dtype"),
        StrCat("is ", DataTypeName(dtype), " but ", first_field_, ".dtype is ",
               DataTypeName(dtype_), "; a weight set has one dtype"));
  }

  const Elements elements_;
  const CodecLimits limits_;
  const ReceivedRequest* request_ = nullptr;
  std::vector<InputTensor>* tensors_ = nullptr;
  std::string first_field_;
  v1::DataType dtype_ = v1::DATA_TYPE_FLOAT32;
};

absl::StatusOr<weights::WeightSetContents> ReadContents(
    const v1::WeightSet& message, ContentsReader reader) {
  weights::WeightSetContents contents;
  absl::StatusOr<core::Layout> layout =
      LayoutFromProto(message.layout(), "weights.layout");
  if (!layout.ok()) return layout.status();
  contents.layout = *layout;
  contents.num_heads = message.num_heads();
  contents.num_kv_heads =
      message.has_num_kv_heads() ? message.num_kv_heads() : message.num_heads();

  absl::Status status = reader.Projection(message.has_query(), message.query(),
                                          "weights.query", contents.query);
  if (status.ok()) {
    status = reader.Projection(message.has_key(), message.key(), "weights.key",
                               contents.key);
  }
  if (status.ok()) {
    status = reader.Projection(message.has_value(), message.value(),
                               "weights.value", contents.value);
  }
  if (status.ok() && message.has_output()) {
    status = reader.Projection(true, message.output(), "weights.output",
                               contents.output.emplace());
  }
  if (!status.ok()) return status;
  contents.dtype = reader.dtype();
  return contents;
}

void TensorHeader(const weights::StoredTensor& tensor, weights::DType dtype,
                  v1::Tensor& out) {
  out.set_dtype(static_cast<v1::DataType>(static_cast<int>(dtype)));
  out.mutable_shape()->Assign(tensor.shape.begin(), tensor.shape.end());
}

void ProjectionHeader(const weights::StoredProjection& projection,
                      weights::DType dtype, v1::Projection& out) {
  TensorHeader(projection.weight, dtype, *out.mutable_weight());
  if (projection.bias) {
    TensorHeader(*projection.bias, dtype, *out.mutable_bias());
  }
}

google::protobuf::Timestamp ToTimestamp(
    std::chrono::system_clock::time_point time) {
  const auto nanos = std::chrono::duration_cast<std::chrono::nanoseconds>(
                         time.time_since_epoch())
                         .count();
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(nanos / 1'000'000'000);
  timestamp.set_nanos(static_cast<int32_t>(nanos % 1'000'000'000));
  return timestamp;
}

}  // namespace

absl::StatusOr<weights::Which> WhichOf(const v1::WeightSetSelector& selector) {
  if (selector.name().empty()) {
    return FieldError("weight_set.name", "is required");
  }
  switch (selector.which_case()) {
    case v1::WeightSetSelector::kVersion:
      if (selector.version() < 1) {
        return FieldError("weight_set.version",
                          StrCat("is ", selector.version(),
                                 "; at least 1 is allowed, unset means the "
                                 "latest"));
      }
      return weights::Which(selector.version());
    case v1::WeightSetSelector::kLabel:
      if (selector.label().empty()) {
        return FieldError("weight_set.label", "is empty");
      }
      return weights::Which(selector.label());
    default:
      return weights::Which(weights::Latest{});
  }
}

absl::StatusOr<weights::WeightSetContents> ContentsFromProto(
    const v1::WeightSet& message, const CodecLimits& limits) {
  return ReadContents(message, {ContentsReader::Elements::kCarried, limits});
}

absl::StatusOr<weights::WeightSetContents> ContentsFromHeader(
    const v1::WeightSet& message, const CodecLimits& limits) {
  return ReadContents(message, {ContentsReader::Elements::kLater, limits});
}

absl::StatusOr<weights::WeightSetContents> ContentsFromRequest(
    const ReceivedRequest& request, const v1::WeightSet& message,
    const CodecLimits& limits, std::vector<InputTensor>& tensors) {
  return ReadContents(message, {request, limits, tensors});
}

absl::StatusOr<weights::Initializer> InitializerFromProto(
    const v1::Initializer& message) {
  weights::Initializer initializer;
  absl::StatusOr<weights::Distribution> distribution =
      DistributionFromProto(message.distribution());
  if (!distribution.ok()) return distribution.status();
  absl::StatusOr<core::Layout> layout =
      LayoutFromProto(message.layout(), "initializer.layout");
  if (!layout.ok()) return layout.status();
  if (message.has_output_width() && message.output_width() < 1) {
    return FieldError("initializer.output_width",
                      StrCat("is ", message.output_width(),
                             "; at least 1 is allowed, unset means no output "
                             "projection"));
  }
  if (message.output_bias() && !message.has_output_width()) {
    return FieldError("initializer.output_bias",
                      "is set without output_width, so there is no output "
                      "projection to have a bias");
  }
  initializer.distribution = *distribution;
  initializer.layout = *layout;
  initializer.seed = message.seed();
  initializer.input_bias = message.input_bias();
  initializer.output_bias = message.output_bias();
  weights::WeightSetDims& dims = initializer.dims;
  dims.num_heads = message.num_heads();
  dims.num_kv_heads =
      message.has_num_kv_heads() ? message.num_kv_heads() : dims.num_heads;
  dims.query_width = message.query_width();
  dims.key_width =
      message.has_key_width() ? message.key_width() : dims.query_width;
  dims.value_width =
      message.has_value_width() ? message.value_width() : dims.key_width;
  dims.head_dim = message.head_dim();
  dims.value_dim =
      message.has_value_dim() ? message.value_dim() : dims.head_dim;
  dims.output_width = message.output_width();
  return initializer;
}

v1::WeightSet HeaderToProto(const weights::WeightSetContents& contents) {
  v1::WeightSet message;
  message.set_num_heads(static_cast<int32_t>(contents.num_heads));
  message.set_num_kv_heads(static_cast<int32_t>(contents.num_kv_heads));
  message.set_layout(contents.layout == core::Layout::kInOut
                         ? v1::LAYOUT_IN_OUT
                         : v1::LAYOUT_OUT_IN);
  const weights::DType dtype = contents.dtype;
  ProjectionHeader(contents.query, dtype, *message.mutable_query());
  ProjectionHeader(contents.key, dtype, *message.mutable_key());
  ProjectionHeader(contents.value, dtype, *message.mutable_value());
  if (contents.output) {
    ProjectionHeader(*contents.output, dtype, *message.mutable_output());
  }
  return message;
}

v1::WeightSetVersion VersionToProto(const weights::WeightSetVersion& version) {
  v1::WeightSetVersion message;
  message.set_name(version.record().name);
  message.set_version(version.record().version);
  message.set_sha256(version.record().sha256);
  return message;
}

v1::WeightSetSummary SummaryToProto(const weights::Listed& listed) {
  const weights::WeightSetVersion& version = *listed.version;
  const weights::WeightSetVersion::Record& record = version.record();
  const weights::WeightSetDims& dims = version.dims();
  v1::WeightSetSummary message;
  *message.mutable_version() = VersionToProto(version);
  *message.mutable_create_time() = ToTimestamp(record.create_time);
  message.mutable_labels()->Assign(listed.labels.begin(), listed.labels.end());
  message.mutable_annotations()->insert(record.annotations.begin(),
                                        record.annotations.end());
  message.set_num_heads(static_cast<int32_t>(dims.num_heads));
  message.set_num_kv_heads(static_cast<int32_t>(dims.num_kv_heads));
  message.set_head_dim(static_cast<int32_t>(dims.head_dim));
  message.set_value_dim(static_cast<int32_t>(dims.value_dim));
  message.set_dtype(
      static_cast<v1::DataType>(static_cast<int>(record.contents.dtype)));
  message.set_tensor_bytes(version.tensor_bytes());
  return message;
}

}  // namespace attention::rpc
