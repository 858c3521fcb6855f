#include "client/cpp/cli/layer_import.h"

#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/tensor_file.h"
#include "client/cpp/files/array.h"
#include "proto/error_text.h"

namespace attention::client {
namespace {

using files::Array;

// A projection as it was read.
struct Loaded {
  ProjectionNames names;
  Array weight;
  std::optional<Array> bias;
};

// Where in and out stand in the shape of a weight.
struct Axes {
  size_t in;
  size_t out;
};

Axes AxesOf(v1::Layout layout) {
  return layout == v1::LAYOUT_IN_OUT ? Axes{0, 1} : Axes{1, 0};
}

// Columns [first, first + count) of a matrix or a row.
Array Columns(const Array& array, int64_t first, int64_t count) {
  Array part = {array.type, array.shape, {}};
  const auto element = static_cast<size_t>(files::ElementSize(array.type));
  const size_t row_bytes = static_cast<size_t>(array.shape.back()) * element;
  const size_t part_bytes = static_cast<size_t>(count) * element;
  part.shape.back() = count;
  part.data.reserve(array.data.size() / row_bytes * part_bytes);
  for (size_t row = 0; row < array.data.size(); row += row_bytes) {
    part.data.append(array.data, row + static_cast<size_t>(first) * element,
                     part_bytes);
  }
  return part;
}

class LayerReader {
 public:
  LayerReader(const files::ArrayBundle& bundle, const LayerImport& import,
              const files::ReadLimits& limits)
      : bundle_(bundle), import_(import), limits_(limits) {}

  absl::StatusOr<v1::WeightSet> Read() {
    absl::Status status = TakeLayout();
    if (status.ok()) status = TakeHeads();
    if (status.ok()) {
      status = import_.form == LayerForm::kGpt2 ? LoadFused() : LoadSeparate();
    }
    if (status.ok() && import_.form != LayerForm::kPlain) {
      status = CheckSquare();
    }
    if (status.ok()) status = CheckHeads();
    if (!status.ok()) return status;
    return TakeWeightSet();
  }

 private:
  absl::Status Error(absl::string_view problem) const {
    return UsageError(absl::StrCat(bundle_.source(), ": ", problem));
  }

  absl::Status ShapeError(const std::string& name, const Array& array,
                          absl::string_view wanted) const {
    return Error(absl::StrCat("tensor ", Quoted(name), " has shape ",
                              ShapeString(array.shape), "; expected ", wanted));
  }

  absl::Status Expect(const std::string& name, const Array& array,
                      const std::vector<int64_t>& shape,
                      absl::string_view meaning) const {
    if (array.shape == shape) return absl::OkStatus();
    return ShapeError(name, array,
                      absl::StrCat(ShapeString(shape), ", ", meaning));
  }

  // What the file says of itself under `key`; empty if nothing.
  std::string Stated(const std::string& key) const {
    const auto found = bundle_.metadata().find(key);
    return found == bundle_.metadata().end() ? "" : found->second;
  }

  absl::Status TakeLayout() {
    if (import_.form != LayerForm::kPlain) {
      layout_ = import_.form == LayerForm::kGpt2 ? v1::LAYOUT_IN_OUT
                                                 : v1::LAYOUT_OUT_IN;
      if (import_.layout == v1::LAYOUT_UNSPECIFIED ||
          import_.layout == layout_) {
        return absl::OkStatus();
      }
      return UsageError(absl::StrCat("--layout is ", LayoutWord(import_.layout),
                                     ", but this form is always ",
                                     LayoutWord(layout_), "; leave it out"));
    }
    layout_ = import_.layout;
    const auto stated = LayoutWords().find(Stated(kLayoutKey));
    if (layout_ == v1::LAYOUT_UNSPECIFIED && stated != LayoutWords().end()) {
      layout_ = stated->second;
    }
    if (layout_ != v1::LAYOUT_UNSPECIFIED) return absl::OkStatus();
    return Error(
        "does not say how its weights are stored; add --layout in-out (x * W) "
        "or --layout out-in (x * W^T, torch.nn.Linear's)");
  }

  absl::Status TakeHeads() {
    int32_t stated = 0;
    if (import_.num_heads) {
      num_heads_ = *import_.num_heads;
    } else if (absl::SimpleAtoi(Stated(kNumHeadsKey), &stated)) {
      num_heads_ = stated;
    } else {
      return Error("does not say how many heads it has; add --heads");
    }
    num_kv_heads_ = num_heads_;
    if (import_.num_kv_heads) {
      num_kv_heads_ = *import_.num_kv_heads;
    } else if (absl::SimpleAtoi(Stated(kNumKvHeadsKey), &stated)) {
      num_kv_heads_ = stated;
    }
    if (num_heads_ < 1 || num_kv_heads_ < 1 ||
        num_heads_ % num_kv_heads_ != 0) {
      return Error(absl::StrCat("has ", num_heads_, " heads and ",
                                num_kv_heads_,
                                " key/value heads; the first must be a "
                                "multiple of the second"));
    }
    if (import_.form != LayerForm::kPlain && num_kv_heads_ != num_heads_) {
      return UsageError(absl::StrCat("--kv-heads is ", num_kv_heads_,
                                     ", but this form has as many as --heads; "
                                     "leave it out"));
    }
    return absl::OkStatus();
  }

  // With the first usual prefix whose query the file has, or the first at all,
  // so that what is missing is named.
  LayerNames UsualNames() const {
    const std::vector<std::string>& usual = UsualPrefixes(import_.form);
    std::string prefix = import_.prefix.value_or(usual.front());
    if (!import_.prefix) {
      for (const std::string& candidate : usual) {
        const LayerNames names =
            NamesOf(import_.form, candidate, import_.layer);
        if (bundle_.Has(names.query.weight)) prefix = candidate;
      }
    }
    return NamesOf(import_.form, prefix, import_.layer);
  }

  absl::StatusOr<Array> Load(const std::string& name) const {
    absl::StatusOr<Array> array = bundle_.Read(name, limits_);
    if (!array.ok()) return UsageError(array.status().message());
    const bool is_float = array->type != files::ElementType::kInt64 &&
                          array->type != files::ElementType::kBool;
    if (is_float) return array;
    return Error(
        absl::StrCat("tensor ", Quoted(name), " is ",
                     std::string(files::ElementTypeName(array->type)),
                     "; expected float32, float64, float16 or bfloat16"));
  }

  // c_attn is query, key and value side by side.
  absl::Status LoadFused() {
    const LayerNames names = UsualNames();
    const absl::StatusOr<Array> weight = Load(names.query.weight);
    if (!weight.ok()) return weight.status();
    if (weight->shape.size() != 2 || weight->shape[0] < 1 ||
        weight->shape[1] % 3 != 0 || weight->shape[1] / 3 != weight->shape[0]) {
      const std::string wanted =
          weight->shape.size() == 2 && weight->shape[0] >= 1
              ? absl::StrCat("[", weight->shape[0], ", 3 * ", weight->shape[0],
                             "]")
              : "[d, 3 * d]";
      return ShapeError(names.query.weight, *weight,
                        absl::StrCat(wanted,
                                     ", query, key and value side by "
                                     "side"));
    }
    const int64_t width = weight->shape[0];
    const absl::StatusOr<Array> bias = Load(names.query.bias);
    if (!bias.ok()) return bias.status();
    absl::Status status = Expect(
        names.query.bias, *bias, {3 * width},
        absl::StrCat("as many as ", Quoted(names.query.weight), " is wide"));
    if (!status.ok()) return status;
    for (int64_t part = 0; part < 3; ++part) {
      layer_.push_back({names.query, Columns(*weight, part * width, width),
                        Columns(*bias, part * width, width)});
    }
    return LoadProjection(names.output);
  }

  absl::Status LoadProjection(const ProjectionNames& names) {
    Loaded loaded = {names, {}, {}};
    absl::StatusOr<Array> weight = Load(names.weight);
    if (!weight.ok()) return weight.status();
    loaded.weight = *std::move(weight);
    if (loaded.weight.shape.size() != 2) {
      return ShapeError(
          names.weight, loaded.weight,
          layout_ == v1::LAYOUT_IN_OUT ? "[in, out]" : "[out, in]");
    }
    if (!names.bias.empty()) {
      absl::StatusOr<Array> bias = Load(names.bias);
      if (!bias.ok()) return bias.status();
      loaded.bias = *std::move(bias);
      absl::Status status = Expect(
          names.bias, *loaded.bias, {loaded.weight.shape[AxesOf(layout_).out]},
          absl::StrCat("the out of ", Quoted(names.weight)));
      if (!status.ok()) return status;
    }
    layer_.push_back(std::move(loaded));
    return absl::OkStatus();
  }

  // The names one gave; where the usual ones stand in, what the file has: of
  // kPlain, biases and the output projection may be absent.
  ProjectionNames Chosen(const ProjectionNames& given,
                         const ProjectionNames& usual) const {
    if (!given.weight.empty()) return given;
    ProjectionNames names = usual;
    if (!given.bias.empty()) names.bias = given.bias;
    const bool may_lack = import_.form == LayerForm::kPlain;
    if (may_lack && given.bias.empty() && !bundle_.Has(names.bias)) {
      names.bias.clear();
    }
    return names;
  }

  absl::Status LoadSeparate() {
    const LayerNames usual = UsualNames();
    const LayerNames& given = import_.names;
    for (const ProjectionNames& names :
         {Chosen(given.query, usual.query), Chosen(given.key, usual.key),
          Chosen(given.value, usual.value)}) {
      absl::Status status = LoadProjection(names);
      if (!status.ok()) return status;
    }
    const ProjectionNames output = Chosen(given.output, usual.output);
    const bool may_lack = import_.form == LayerForm::kPlain &&
                          given.output.weight.empty() &&
                          given.output.bias.empty();
    if (may_lack && !bundle_.Has(output.weight)) {
      if (output.bias.empty()) return absl::OkStatus();
      return Error(absl::StrCat("has ", Quoted(output.bias), " but not ",
                                Quoted(output.weight)));
    }
    return LoadProjection(output);
  }

  // The forms of checkpoints have one width throughout.
  absl::Status CheckSquare() const {
    const int64_t width = layer_[0].weight.shape[AxesOf(layout_).in];
    for (const Loaded& loaded : layer_) {
      absl::Status status =
          Expect(loaded.names.weight, loaded.weight, {width, width},
                 absl::StrCat("as wide as ", Quoted(layer_[0].names.weight)));
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // That one axis of a weight is `size`.
  absl::Status ExpectAxis(const Loaded& loaded, size_t axis, int64_t size,
                          absl::string_view meaning) const {
    std::vector<int64_t> wanted = loaded.weight.shape;
    wanted[axis] = size;
    return Expect(loaded.names.weight, loaded.weight, wanted, meaning);
  }

  absl::Status CheckDivisible(const Loaded& loaded, int32_t heads,
                              absl::string_view what) const {
    const int64_t out = loaded.weight.shape[AxesOf(layout_).out];
    if (out > 0 && out % heads == 0) return absl::OkStatus();
    return ShapeError(
        loaded.names.weight, loaded.weight,
        absl::StrCat("an out that is a multiple of ", heads, ", ", what));
  }

  // What the service asks of a weight set, with the file's own names.
  absl::Status CheckHeads() const {
    const Axes axes = AxesOf(layout_);
    const auto out = [&](size_t i) { return layer_[i].weight.shape[axes.out]; };
    absl::Status status = CheckDivisible(layer_[0], num_heads_, "the heads");
    if (!status.ok()) return status;
    const int64_t key_out = out(0) / num_heads_ * num_kv_heads_;
    status = ExpectAxis(layer_[1], axes.out, key_out,
                        "key/value heads times the columns of a query head");
    if (!status.ok()) return status;
    status = CheckDivisible(layer_[2], num_kv_heads_, "the key/value heads");
    if (status.ok() && layer_.size() == 4) {
      const int64_t in = out(2) / num_kv_heads_ * num_heads_;
      status = ExpectAxis(layer_[3], axes.in, in,
                          "heads times the columns of a value head");
    }
    if (!status.ok() || import_.dtype) return status;
    for (const Loaded& loaded : layer_) {
      status = CheckType(loaded.names.weight, loaded.weight);
      if (status.ok() && loaded.bias) {
        status = CheckType(loaded.names.bias, *loaded.bias);
      }
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  absl::Status CheckType(const std::string& name, const Array& array) const {
    const files::ElementType type = layer_[0].weight.type;
    if (array.type == type) return absl::OkStatus();
    return Error(absl::StrCat("tensor ", Quoted(name), " is ",
                              std::string(files::ElementTypeName(array.type)),
                              " but ", Quoted(layer_[0].names.weight), " is ",
                              std::string(files::ElementTypeName(type)),
                              "; a weight set has one type: add --dtype"));
  }

  absl::Status Place(const std::string& name, Array array,
                     v1::Tensor& tensor) const {
    absl::StatusOr<v1::Tensor> made =
        TensorOf(std::move(array), bundle_.source());
    if (!made.ok()) return made.status();
    tensor = *std::move(made);
    if (!import_.dtype) return absl::OkStatus();
    return ConvertTensor(*import_.dtype,
                         absl::StrCat(bundle_.source(), ": ", Quoted(name)),
                         tensor);
  }

  absl::StatusOr<v1::WeightSet> TakeWeightSet() {
    v1::WeightSet weights;
    weights.set_num_heads(num_heads_);
    if (num_kv_heads_ != num_heads_) weights.set_num_kv_heads(num_kv_heads_);
    weights.set_layout(layout_);
    v1::Projection* (v1::WeightSet::*const fields[])() = {
        &v1::WeightSet::mutable_query, &v1::WeightSet::mutable_key,
        &v1::WeightSet::mutable_value, &v1::WeightSet::mutable_output};
    for (size_t i = 0; i < layer_.size(); ++i) {
      Loaded& loaded = layer_[i];
      v1::Projection& projection = *(weights.*fields[i])();
      absl::Status status = Place(loaded.names.weight, std::move(loaded.weight),
                                  *projection.mutable_weight());
      if (status.ok() && loaded.bias) {
        status = Place(loaded.names.bias, *std::move(loaded.bias),
                       *projection.mutable_bias());
      }
      if (!status.ok()) return status;
    }
    return weights;
  }

  const files::ArrayBundle& bundle_;
  const LayerImport& import_;
  const files::ReadLimits& limits_;
  v1::Layout layout_ = v1::LAYOUT_UNSPECIFIED;
  int32_t num_heads_ = 0;
  int32_t num_kv_heads_ = 0;
  std::vector<Loaded> layer_;  // query, key, value and perhaps output
};

}  // namespace

absl::StatusOr<v1::WeightSet> ImportLayer(const files::ArrayBundle& bundle,
                                          const LayerImport& import,
                                          const files::ReadLimits& limits) {
  return LayerReader(bundle, import, limits).Read();
}

}  // namespace attention::client
