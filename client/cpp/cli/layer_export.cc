#include "client/cpp/cli/layer_export.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/layer_import.h"
#include "client/cpp/files/array.h"
#include "proto/error_text.h"

namespace attention::client {
namespace {

using files::Array;

// Columns as rows. REQUIRES: rank 2.
Array Transposed(const Array& array) {
  const auto element = static_cast<size_t>(files::ElementSize(array.type));
  const auto rows = static_cast<size_t>(array.shape[0]);
  const auto columns = static_cast<size_t>(array.shape[1]);
  Array turned = {array.type, {array.shape[1], array.shape[0]}, {}};
  turned.data.reserve(array.data.size());
  for (size_t column = 0; column < columns; ++column) {
    for (size_t row = 0; row < rows; ++row) {
      turned.data.append(array.data, (row * columns + column) * element,
                         element);
    }
  }
  return turned;
}

// Arrays of as many rows, side by side.
Array SideBySide(const std::vector<const Array*>& arrays) {
  const auto element = static_cast<size_t>(files::ElementSize(arrays[0]->type));
  Array joined = {arrays[0]->type, arrays[0]->shape, {}};
  joined.shape.back() = 0;
  size_t bytes = 0;
  for (const Array* array : arrays) {
    joined.shape.back() += array->shape.back();
    bytes += array->data.size();
  }
  joined.data.reserve(bytes);
  const size_t rows =
      joined.shape.size() == 1 ? 1 : static_cast<size_t>(joined.shape[0]);
  for (size_t row = 0; row < rows; ++row) {
    for (const Array* array : arrays) {
      const size_t row_bytes =
          static_cast<size_t>(array->shape.back()) * element;
      joined.data.append(array->data, row * row_bytes, row_bytes);
    }
  }
  return joined;
}

// One projection of the set.
struct Part {
  const char* name;
  std::optional<Array> weight;
  std::optional<Array> bias;
};

absl::StatusOr<Part> TakePart(const char* name, v1::Projection& projection) {
  Part part = {name, {}, {}};
  if (projection.has_weight()) {
    absl::StatusOr<Array> weight =
        ArrayOf(std::move(*projection.mutable_weight()));
    if (!weight.ok()) return weight.status();
    part.weight = *std::move(weight);
  }
  if (projection.has_bias()) {
    absl::StatusOr<Array> bias = ArrayOf(std::move(*projection.mutable_bias()));
    if (!bias.ok()) return bias.status();
    part.bias = *std::move(bias);
  }
  return part;
}

// What the forms of checkpoints cannot do without.
absl::Status CheckForm(const v1::WeightSet& weights,
                       const std::vector<Part>& parts) {
  constexpr char kCure[] = "; use --preset plain";
  if (weights.has_num_kv_heads() &&
      weights.num_kv_heads() != weights.num_heads()) {
    return UsageError(
        absl::StrCat("the set has ", weights.num_heads(), " heads and ",
                     weights.num_kv_heads(),
                     " key/value heads; this form has as many of both", kCure));
  }
  const std::vector<int64_t>& wanted = parts[0].weight->shape;
  for (const Part& part : parts) {
    if (!part.weight || !part.bias) {
      return UsageError(absl::StrCat("the set has no ", part.name,
                                     part.weight ? ".bias" : ".weight",
                                     ", which this form has", kCure));
    }
    if (part.weight->shape != wanted || wanted[0] != wanted[1]) {
      return UsageError(absl::StrCat(part.name, ".weight has shape ",
                                     ShapeString(part.weight->shape),
                                     "; expected [", wanted[0], ", ", wanted[0],
                                     "], the same width throughout", kCure));
    }
  }
  return absl::OkStatus();
}

void Add(const std::string& name, std::optional<Array> array, LayerFile& file) {
  if (array) file.tensors.push_back({name, *std::move(array)});
}

void AddPart(const ProjectionNames& names, Part& part, LayerFile& file) {
  Add(names.weight, std::move(part.weight), file);
  Add(names.bias, std::move(part.bias), file);
}

}  // namespace

absl::StatusOr<LayerFile> ExportLayer(StoredWeightSet stored,
                                      const LayerExport& layer_export) {
  v1::WeightSet& weights = stored.weights;
  std::vector<Part> parts;
  const std::pair<const char*, v1::Projection*> projections[] = {
      {"query", weights.mutable_query()},
      {"key", weights.mutable_key()},
      {"value", weights.mutable_value()},
      {"output", weights.mutable_output()}};
  for (const auto& [name, projection] : projections) {
    absl::StatusOr<Part> part = TakePart(name, *projection);
    if (!part.ok()) return part.status();
    parts.push_back(*std::move(part));
  }

  LayerFile file;
  const LayerNames names =
      NamesOf(layer_export.form, layer_export.prefix, layer_export.layer);
  // Without it transformers refuses the file.
  file.metadata["format"] = "pt";
  if (layer_export.form == LayerForm::kPlain) {
    file.metadata[kNumHeadsKey] = absl::StrCat(weights.num_heads());
    file.metadata[kNumKvHeadsKey] =
        absl::StrCat(weights.has_num_kv_heads() ? weights.num_kv_heads()
                                                : weights.num_heads());
    file.metadata[kLayoutKey] = LayoutWord(weights.layout());
  } else {
    absl::Status status = CheckForm(weights, parts);
    if (!status.ok()) return status;
    const v1::Layout layout = layer_export.form == LayerForm::kGpt2
                                  ? v1::LAYOUT_IN_OUT
                                  : v1::LAYOUT_OUT_IN;
    for (Part& part : parts) {
      if (weights.layout() != layout) part.weight = Transposed(*part.weight);
    }
  }
  if (layer_export.form == LayerForm::kGpt2) {
    Add(names.query.weight,
        SideBySide({&*parts[0].weight, &*parts[1].weight, &*parts[2].weight}),
        file);
    Add(names.query.bias,
        SideBySide({&*parts[0].bias, &*parts[1].bias, &*parts[2].bias}), file);
  } else {
    AddPart(names.query, parts[0], file);
    AddPart(names.key, parts[1], file);
    AddPart(names.value, parts[2], file);
  }
  AddPart(names.output, parts[3], file);
  return file;
}

}  // namespace attention::client
