#include <algorithm>

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"
#include "proto/field_error.h"
#include "server/core/saturating.h"
#include "server/weights/contents.h"
#include "server/weights/named_tensor.h"

namespace attention::weights {
namespace {

// Where in and out stand in the shape of a weight.
struct Axes {
  int in;
  int out;
  const char* text;  // as the contract writes it
};

Axes AxesOf(core::Layout layout) {
  return layout == core::Layout::kInOut ? Axes{0, 1, "[in, out]"}
                                        : Axes{1, 0, "[out, in]"};
}

// What is wrong with one axis of "weights.<path>.shape".
absl::Status AxisError(absl::string_view path, int axis, int64_t size,
                       absl::string_view expected) {
  return FieldError(absl::StrCat("weights.", path, ".shape[", axis, "]"),
                    absl::StrCat("is ", size, expected));
}

absl::Status CheckHeads(const WeightSetContents& contents) {
  if (contents.num_heads < 1) {
    return FieldError(
        "weights.num_heads",
        absl::StrCat("is ", contents.num_heads, "; expected at least 1"));
  }
  if (contents.num_kv_heads < 1 ||
      contents.num_heads % contents.num_kv_heads != 0) {
    return FieldError("weights.num_kv_heads",
                      absl::StrCat("is ", contents.num_kv_heads,
                                   "; expected a divisor of num_heads, which "
                                   "is ",
                                   contents.num_heads));
  }
  return absl::OkStatus();
}

// Rank, and axes of at least 1.
absl::Status CheckTensor(const NamedTensor& named, const Axes& axes) {
  const auto& [path, tensor] = named;
  const bool is_weight = path.ends_with(".weight");
  const size_t rank = is_weight ? 2 : 1;
  if (tensor->shape.size() != rank) {
    return FieldError(
        absl::StrCat("weights.", path, ".shape"),
        absl::StrCat("is ", ShapeString(tensor->shape), "; expected ",
                     is_weight ? axes.text : "[out]"));
  }
  for (size_t axis = 0; axis < rank; ++axis) {
    const int64_t size = tensor->shape[axis];
    if (size < 1) {
      return AxisError(path, static_cast<int>(axis), size,
                       "; expected at least 1");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckData(const NamedTensor& named, DType dtype) {
  const auto& [path, tensor] = named;
  const int64_t bytes = DataBytes(*tensor, dtype);
  if (static_cast<int64_t>(tensor->data.size()) == bytes) {
    return absl::OkStatus();
  }
  return FieldError(
      absl::StrCat("weights.", path, ".data"),
      absl::StrCat("has ", tensor->data.size(), " bytes but shape ",
                   ShapeString(tensor->shape), " takes ", bytes));
}

// "query": that its bias is as long as its weight is wide.
absl::Status CheckBias(absl::string_view name,
                       const StoredProjection& projection, const Axes& axes) {
  if (!projection.bias.has_value()) return absl::OkStatus();
  const int64_t out = projection.weight.shape[axes.out];
  const int64_t length = projection.bias->shape[0];
  if (length == out) return absl::OkStatus();
  return AxisError(absl::StrCat(name, ".bias"), 0, length,
                   absl::StrCat(" but weights.", name, ".weight.shape[",
                                axes.out, "] is ", out, "; both are out"));
}

// Columns of one head, where `name` projects to heads * columns of them.
struct Heads {
  absl::string_view name;  // "num_heads"
  int64_t count;
  absl::string_view columns;  // "head_dim"
};
absl::StatusOr<int64_t> ColumnsPerHead(absl::string_view name, int64_t out,
                                       const Heads& heads, const Axes& axes) {
  if (out % heads.count == 0) return out / heads.count;
  return AxisError(absl::StrCat(name, ".weight"), axes.out, out,
                   absl::StrCat(" but ", heads.name, " is ", heads.count,
                                "; expected a multiple, ", heads.name, " * ",
                                heads.columns));
}

// The widths, with the projections checked against each other.
absl::StatusOr<WeightSetDims> CheckWidths(const WeightSetContents& contents,
                                          const Axes& axes) {
  const std::vector<int64_t>& query = contents.query.weight.shape;
  const std::vector<int64_t>& key = contents.key.weight.shape;
  const std::vector<int64_t>& value = contents.value.weight.shape;
  WeightSetDims dims;
  dims.num_heads = contents.num_heads;
  dims.num_kv_heads = contents.num_kv_heads;
  dims.query_width = query[axes.in];
  dims.key_width = key[axes.in];
  dims.value_width = value[axes.in];

  const absl::StatusOr<int64_t> head_dim =
      ColumnsPerHead("query", query[axes.out],
                     {"num_heads", dims.num_heads, "head_dim"}, axes);
  if (!head_dim.ok()) return head_dim.status();
  dims.head_dim = *head_dim;
  if (key[axes.out] != dims.num_kv_heads * dims.head_dim) {
    return AxisError(
        "key.weight", axes.out, key[axes.out],
        absl::StrCat("; expected num_kv_heads * head_dim = ", dims.num_kv_heads,
                     " * ", dims.head_dim, ", as weights.query.weight.shape[",
                     axes.out, "] is ", query[axes.out], " for ",
                     dims.num_heads, " heads"));
  }

  const absl::StatusOr<int64_t> value_dim =
      ColumnsPerHead("value", value[axes.out],
                     {"num_kv_heads", dims.num_kv_heads, "value_dim"}, axes);
  if (!value_dim.ok()) return value_dim.status();
  dims.value_dim = *value_dim;
  dims.output_width = core::SaturatingMultiply(dims.num_heads, dims.value_dim);
  if (!contents.output.has_value()) return dims;

  const std::vector<int64_t>& output = contents.output->weight.shape;
  if (output[axes.in] != dims.output_width) {
    return AxisError(
        "output.weight", axes.in, output[axes.in],
        absl::StrCat("; expected num_heads * value_dim = ", dims.num_heads,
                     " * ", dims.value_dim, ", as weights.value.weight.shape[",
                     axes.out, "] is ", value[axes.out], " for ",
                     dims.num_kv_heads, " heads"));
  }
  dims.output_width = output[axes.out];
  return dims;
}

absl::Status CheckBiases(const WeightSetContents& contents, const Axes& axes) {
  absl::Status status = CheckBias("query", contents.query, axes);
  if (status.ok()) status = CheckBias("key", contents.key, axes);
  if (status.ok()) status = CheckBias("value", contents.value, axes);
  if (status.ok() && contents.output.has_value()) {
    status = CheckBias("output", *contents.output, axes);
  }
  return status;
}

// Whether the data of the tensors are there to be measured.
enum class Data { kThere, kLater };

absl::StatusOr<WeightSetDims> Check(const WeightSetContents& contents,
                                    Data data) {
  if (absl::Status heads = CheckHeads(contents); !heads.ok()) return heads;
  if (ElementSize(contents.dtype) == 0) {
    return FieldError(
        "weights.query.weight.dtype",
        absl::StrCat("is ", static_cast<int>(contents.dtype),
                     "; expected FLOAT32, FLOAT64, FLOAT16 or BFLOAT16"));
  }
  const Axes axes = AxesOf(contents.layout);
  for (const NamedTensor& named : NamedTensors(contents)) {
    absl::Status status = CheckTensor(named, axes);
    if (status.ok() && data == Data::kThere) {
      status = CheckData(named, contents.dtype);
    }
    if (!status.ok()) return status;
  }
  if (absl::Status biases = CheckBiases(contents, axes); !biases.ok()) {
    return biases;
  }
  return CheckWidths(contents, axes);
}

}  // namespace

int64_t DataBytes(const WeightSetContents& contents) {
  int64_t bytes = 0;
  for (const NamedTensor& named : NamedTensors(contents)) {
    bytes =
        core::SaturatingAdd(bytes, DataBytes(*named.tensor, contents.dtype));
  }
  return bytes;
}

int64_t HeldBytes(DType dtype, int64_t data_bytes) {
  const int64_t element = ElementSize(dtype);
  constexpr int64_t kFloat = sizeof(float);
  if (element == 0 || element >= kFloat) return data_bytes;
  return core::SaturatingMultiply(data_bytes, 1 + kFloat / element);
}

int64_t DataBytes(const StoredTensor& tensor, DType dtype) {
  int64_t bytes = ElementSize(dtype);
  for (const int64_t axis : tensor.shape) {
    bytes = core::SaturatingMultiply(bytes, axis);
  }
  return bytes;
}

absl::StatusOr<WeightSetDims> DimsOf(const WeightSetContents& contents) {
  return Check(contents, Data::kLater);
}

absl::StatusOr<WeightSetDims> CheckShapes(const WeightSetContents& contents) {
  return Check(contents, Data::kThere);
}

}  // namespace attention::weights
