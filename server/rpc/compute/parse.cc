#include "server/rpc/compute/parse.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/rpc/compute/options.h"

namespace attention::rpc {
namespace {

using absl::StrCat;

constexpr char kRank4Axes[] = "the axes are [batch, num_heads, len, dim]";

std::string AxisField(absl::string_view tensor, int64_t axis) {
  return StrCat(tensor, ".shape[", axis, "]");
}

int64_t LastAxis(const TensorView& tensor) { return tensor.shape().back(); }

// "weight set "name" version 3".
std::string NameOf(const Projecting& projecting) {
  if (projecting.version == nullptr) return "the set in weights";
  const auto& record = projecting.version->record();
  return StrCat("weight set \"", record.name, "\" version ", record.version);
}

// That the request does not fit what projects it.
absl::Status Misfit(const Projecting& projecting, absl::string_view field,
                    absl::string_view text) {
  return FieldError(projecting.version == nullptr
                        ? absl::StatusCode::kInvalidArgument
                        : absl::StatusCode::kFailedPrecondition,
                    field, text);
}

// Reads key or value: a float tensor like the query in rank, dtype and batch.
absl::StatusOr<InputTensor> ParseLikeQuery(const v1::Tensor& tensor,
                                           absl::string_view field,
                                           const ReceivedRequest& received,
                                           const TensorView& query,
                                           const CodecLimits& limits) {
  absl::StatusOr<InputTensor> view =
      ReadInputTensor(received, tensor, field, limits);
  if (!view.ok()) return view;
  if (view->dtype() != query.dtype()) {
    return FieldError(
        StrCat(field, ".dtype"),
        StrCat("is ", DataTypeName(view->dtype()), " but query.dtype is ",
               DataTypeName(query.dtype())));
  }
  if (view->rank() != query.rank()) {
    return FieldError(StrCat(field, ".shape"),
                      StrCat("has ", view->rank(), " axes but query.shape has ",
                             query.rank()));
  }
  if (query.rank() > 2 && view->shape()[0] != query.shape()[0]) {
    return FieldError(AxisField(field, 0),
                      StrCat("is ", view->shape()[0], " but query.shape[0] is ",
                             query.shape()[0], "; both are batch"));
  }
  return view;
}

absl::Status CheckQuery(const TensorView& query, bool with_weight_set) {
  if (!IsFloat(query.dtype())) {
    return FieldError("query.dtype",
                      "is BOOL; expected FLOAT32, FLOAT64, FLOAT16 or "
                      "BFLOAT16");
  }
  if (with_weight_set && query.rank() == 4) {
    return FieldError("query.shape",
                      "has 4 axes; with a weight set, whose projections make "
                      "the heads, expected [len, width] or "
                      "[batch, len, width]");
  }
  if (query.rank() < 2) {
    return FieldError("query.shape",
                      "has 1 axis; expected [len, width], "
                      "[batch, len, width] or [batch, num_heads, len, dim]");
  }
  return absl::OkStatus();
}

absl::Status ParseTensors(const ReceivedRequest& received, bool with_weight_set,
                          const CodecLimits& limits, ComputeRequest& request) {
  const v1::ComputeAttentionRequest& message = received.message();
  if (!message.has_query()) return FieldError("query", "is required");
  absl::StatusOr<InputTensor> query =
      ReadInputTensor(received, message.query(), "query", limits);
  if (!query.ok()) return query.status();
  if (absl::Status status = CheckQuery(*query, with_weight_set); !status.ok()) {
    return status;
  }
  request.query = request.key = *std::move(query);

  if (message.has_key()) {
    absl::StatusOr<InputTensor> key =
        ParseLikeQuery(message.key(), "key", received, request.query, limits);
    if (!key.ok()) return key.status();
    request.key = *std::move(key);
    request.own_key = true;
  }
  request.value = request.key;
  if (message.has_value()) {
    if (!request.own_key) {
      return FieldError("value", "comes without key; send key too");
    }
    absl::StatusOr<InputTensor> value = ParseLikeQuery(
        message.value(), "value", received, request.query, limits);
    if (!value.ok()) return value.status();
    request.value = *std::move(value);
    request.own_value = true;
    const int64_t len_axis = request.query.rank() - 2;
    const int64_t len = request.value.shape()[len_axis];
    const int64_t kv_len = request.key.shape()[len_axis];
    if (len != kv_len) {
      return FieldError(AxisField("value", len_axis),
                        StrCat("is ", len, " but key.shape[", len_axis, "] is ",
                               kv_len, "; both are kv_len"));
    }
  }
  request.has_batch = request.query.rank() > 2;
  request.heads_apart = request.query.rank() == 4;
  const absl::Span<const int64_t> shape = request.query.shape();
  request.shape.batch = request.has_batch ? shape.front() : 1;
  request.shape.query_len = shape[shape.size() - 2];
  request.shape.kv_len = request.key.shape()[shape.size() - 2];
  return absl::OkStatus();
}

// num_heads and num_kv_heads where no weight set decides them.
absl::Status ParseHeads(const v1::ComputeAttentionRequest& message,
                        ComputeRequest& request) {
  if (message.has_num_heads() && message.num_heads() < 1) {
    return FieldError("num_heads",
                      StrCat("is ", message.num_heads(),
                             "; at least 1 is allowed, unset means 1"));
  }
  if (request.heads_apart) {
    const int64_t sent = request.query.shape()[1];
    if (!message.has_num_heads()) {
      return FieldError("num_heads",
                        StrCat("is unset; a query of 4 axes requires it, "
                               "equal to query.shape[1] = ",
                               sent, "; ", kRank4Axes));
    }
    if (sent != message.num_heads()) {
      return FieldError("query.shape[1]",
                        StrCat("is ", sent, " but num_heads is ",
                               message.num_heads(), "; ", kRank4Axes));
    }
  }
  request.shape.num_heads = message.has_num_heads() ? message.num_heads() : 1;
  request.shape.num_kv_heads = message.has_num_kv_heads()
                                   ? message.num_kv_heads()
                                   : request.shape.num_heads;
  if (request.shape.num_kv_heads < 1 ||
      request.shape.num_heads % request.shape.num_kv_heads != 0) {
    return FieldError("num_kv_heads",
                      StrCat("is ", request.shape.num_kv_heads,
                             "; expected a divisor of num_heads = ",
                             request.shape.num_heads));
  }
  return absl::OkStatus();
}

// Size of one head of `tensor`, whose last axis carries `heads` of them.
absl::StatusOr<int64_t> SplitWidth(const TensorView& tensor, int64_t heads,
                                   absl::string_view heads_name,
                                   absl::string_view dim_name) {
  const int64_t width = LastAxis(tensor);
  const std::string field = AxisField(tensor.field(), tensor.rank() - 1);
  if (width % heads != 0) {
    return FieldError(field, StrCat("is ", width, ", not a multiple of ",
                                    heads_name, " = ", heads));
  }
  if (width == 0) {
    return FieldError(field, StrCat("is 0; ", dim_name, " must be at least 1"));
  }
  return width / heads;
}

// Head by head in the last axis: [.., len, num_kv_heads * dim].
absl::Status CheckHeadsSideBySide(ComputeRequest& request) {
  core::AttentionShape& shape = request.shape;
  absl::StatusOr<int64_t> head_dim =
      SplitWidth(request.query, shape.num_heads, "num_heads", "head_dim");
  if (!head_dim.ok()) return head_dim.status();
  shape.head_dim = *head_dim;
  const int64_t axis = request.query.rank() - 1;
  const int64_t key_width = LastAxis(request.key);
  if (!request.own_key && shape.num_kv_heads != shape.num_heads) {
    return FieldError("num_kv_heads",
                      StrCat("is ", shape.num_kv_heads,
                             " but key is absent, so it is the query with its ",
                             shape.num_heads, " heads"));
  }
  if (key_width != shape.num_kv_heads * shape.head_dim) {
    const std::string field = AxisField("key", axis);
    if (shape.num_kv_heads == shape.num_heads) {
      return FieldError(
          field,
          StrCat("is ", key_width, " but query.shape[", axis, "] is ",
                 LastAxis(request.query), "; both are ",
                 shape.num_heads == 1 ? "" : "num_heads * ", "head_dim"));
    }
    return FieldError(
        field, StrCat("is ", key_width, " but num_kv_heads * head_dim is ",
                      shape.num_kv_heads, " * ", shape.head_dim, " = ",
                      shape.num_kv_heads * shape.head_dim,
                      "; head_dim is query.shape[", axis, "] / num_heads"));
  }
  absl::StatusOr<int64_t> value_dim = SplitWidth(
      request.value, shape.num_kv_heads, "num_kv_heads", "value_dim");
  if (!value_dim.ok()) return value_dim.status();
  shape.value_dim = *value_dim;
  request.output_width = shape.num_heads * shape.value_dim;
  return absl::OkStatus();
}

// [batch, heads, len, dim].
absl::Status CheckHeadsApart(ComputeRequest& request) {
  core::AttentionShape& shape = request.shape;
  for (const TensorView* tensor : {&request.key, &request.value}) {
    if (tensor->shape()[1] != shape.num_kv_heads) {
      const bool is_query = tensor->field() == "query";
      return FieldError(
          is_query ? "num_kv_heads" : AxisField(tensor->field(), 1),
          is_query ? StrCat("is ", shape.num_kv_heads,
                            " but key is absent, so it is the query with its ",
                            shape.num_heads, " heads")
                   : StrCat("is ", tensor->shape()[1], " but num_kv_heads is ",
                            shape.num_kv_heads, "; ", kRank4Axes));
    }
  }
  shape.head_dim = LastAxis(request.query);
  if (LastAxis(request.key) != shape.head_dim) {
    return FieldError(
        "key.shape[3]",
        StrCat("is ", LastAxis(request.key), " but query.shape[3] is ",
               shape.head_dim, "; both are head_dim"));
  }
  shape.value_dim = LastAxis(request.value);
  for (const TensorView* tensor : {&request.query, &request.value}) {
    if (LastAxis(*tensor) == 0) {
      return FieldError(AxisField(tensor->field(), 3),
                        "is 0; head_dim and value_dim must be at least 1");
    }
  }
  request.output_width = shape.value_dim;
  return absl::OkStatus();
}

absl::Status CheckHeadCount(absl::string_view field, bool has, int64_t sent,
                            int64_t of_set, const Projecting& projecting) {
  if (!has || sent == of_set) return absl::OkStatus();
  return Misfit(
      projecting, field,
      StrCat("is ", sent, " but ", NameOf(projecting), " has ", of_set));
}

absl::Status CheckWidth(const TensorView& tensor, absl::string_view projection,
                        int64_t expected, const Projecting& projecting) {
  if (LastAxis(tensor) == expected) return absl::OkStatus();
  const std::string field = AxisField(tensor.field(), tensor.rank() - 1);
  return Misfit(projecting, field,
                StrCat("is ", LastAxis(tensor), " but ", NameOf(projecting),
                       " projects ", projection, " from width ", expected,
                       tensor.field() == projection
                           ? ""
                           : StrCat("; ", projection, " is absent, so it is ",
                                    tensor.field())));
}

absl::Status CheckAgainstWeightSet(const v1::ComputeAttentionRequest& message,
                                   const Projecting& projecting,
                                   ComputeRequest& request) {
  const weights::WeightSetDims& dims = *projecting.dims;
  for (const absl::Status& status :
       {CheckHeadCount("num_heads", message.has_num_heads(),
                       message.num_heads(), dims.num_heads, projecting),
        CheckHeadCount("num_kv_heads", message.has_num_kv_heads(),
                       message.num_kv_heads(), dims.num_kv_heads, projecting),
        CheckWidth(request.query, "query", dims.query_width, projecting),
        CheckWidth(request.key, "key", dims.key_width, projecting),
        CheckWidth(request.value, "value", dims.value_width, projecting)}) {
    if (!status.ok()) return status;
  }
  request.shape.num_heads = dims.num_heads;
  request.shape.num_kv_heads = dims.num_kv_heads;
  request.shape.head_dim = dims.head_dim;
  request.shape.value_dim = dims.value_dim;
  request.output_width = dims.output_width;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ComputeRequest> ParseComputeRequest(
    const ReceivedRequest& received, const Projecting& projecting,
    const Limits& limits) {
  const v1::ComputeAttentionRequest& message = received.message();
  CodecLimits codec_limits;
  codec_limits.max_axis = limits.max_axis;
  ComputeRequest request;
  absl::Status status =
      ParseTensors(received, projecting.dims != nullptr, codec_limits, request);
  if (status.ok() && projecting.dims != nullptr) {
    status = CheckAgainstWeightSet(message, projecting, request);
  } else if (status.ok()) {
    status = ParseHeads(message, request);
    if (status.ok()) {
      status = request.heads_apart ? CheckHeadsApart(request)
                                   : CheckHeadsSideBySide(request);
    }
  }
  if (status.ok()) status = ParseMasks(received, codec_limits, request);
  if (status.ok()) status = ParseOptions(message, request);
  if (status.ok()) status = ParseWanted(message, request);
  if (!status.ok()) return status;
  return request;
}

}  // namespace attention::rpc
