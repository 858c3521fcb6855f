#include "server/weights/initializer.h"

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "proto/field_error.h"
#include "server/core/saturating.h"

namespace attention::weights {
namespace {

// The sizes of one projection.
struct Widths {
  int64_t in;
  int64_t out;
};

// FLOAT32 elements of a projection with or without bias; saturating.
int64_t Elements(const Widths& widths, bool bias) {
  return core::SaturatingAdd(core::SaturatingMultiply(widths.in, widths.out),
                             bias ? widths.out : 0);
}

absl::Status CheckAtLeastOne(absl::string_view field, int64_t size) {
  if (size >= 1) return absl::OkStatus();
  return FieldError(absl::StrCat("initializer.", field),
                    absl::StrCat("is ", size, "; expected at least 1"));
}

absl::Status CheckSizes(const Initializer& initializer) {
  const WeightSetDims& dims = initializer.dims;
  const struct {
    absl::string_view field;
    int64_t size;
  } sizes[] = {
      {"num_heads", dims.num_heads},     {"num_kv_heads", dims.num_kv_heads},
      {"query_width", dims.query_width}, {"key_width", dims.key_width},
      {"value_width", dims.value_width}, {"head_dim", dims.head_dim},
      {"value_dim", dims.value_dim}};
  for (const auto& [field, size] : sizes) {
    if (absl::Status status = CheckAtLeastOne(field, size); !status.ok()) {
      return status;
    }
  }
  if (dims.num_heads % dims.num_kv_heads != 0) {
    return FieldError(
        "initializer.num_kv_heads",
        absl::StrCat("is ", dims.num_kv_heads,
                     "; expected a divisor of num_heads, which is ",
                     dims.num_heads));
  }
  if (dims.output_width < 0) {
    return CheckAtLeastOne("output_width", dims.output_width);
  }
  if (initializer.output_bias && dims.output_width == 0) {
    return FieldError("initializer.output_bias",
                      "is true without an output_width; there is no output "
                      "projection to have a bias");
  }
  return absl::OkStatus();
}

// Draws numbers as PyTorch does on a CPU: of each 32-bit number the low 24 bits
// (ATen's uniform_real<float>), scaled by the fused multiply-add that its
// kernels are compiled to wherever there is one. std::fma is the same
// everywhere.
class Draw {
 public:
  Draw(Distribution distribution, uint32_t seed)
      : distribution_(distribution), generator_(seed) {}

  std::string Weight(const Widths& widths) {
    const int64_t count = widths.in * widths.out;
    switch (distribution_) {
      case Distribution::kUniform:
        return Uniform(0, 1, count);
      case Distribution::kLinear: {
        // kaiming_uniform_(a = sqrt(5)), in torch.nn.init's steps: equal to
        // 1 / sqrt(in), but for the last bit of some widths.
        const double slope = std::sqrt(5.0);
        const double gain = std::sqrt(2.0 / (1 + slope * slope));
        const double deviation =
            gain / std::sqrt(static_cast<double>(widths.in));
        return Within(std::sqrt(3.0) * deviation, count);
      }
      case Distribution::kXavierUniform: {
        const auto fans = static_cast<double>(widths.in + widths.out);
        return Within(std::sqrt(3.0) * std::sqrt(2.0 / fans), count);
      }
    }
    return {};
  }

  std::string Bias(const Widths& widths) {
    switch (distribution_) {
      case Distribution::kUniform:
        return Uniform(0, 1, widths.out);
      case Distribution::kLinear:
        return Within(1 / std::sqrt(static_cast<double>(widths.in)),
                      widths.out);
      case Distribution::kXavierUniform: {
        std::string zeros(static_cast<size_t>(widths.out) * sizeof(float),
                          '\0');
        return zeros;
      }
    }
    return {};
  }

 private:
  std::string Within(double bound, int64_t count) {
    return Uniform(static_cast<float>(-bound), static_cast<float>(bound),
                   count);
  }

  // The bytes of `count` floats in [from, to).
  std::string Uniform(float from, float to, int64_t count) {
    std::string bytes(static_cast<size_t>(count) * sizeof(float), '\0');
    for (size_t at = 0; at < bytes.size(); at += sizeof(float)) {
      const auto bits = static_cast<uint32_t>(generator_()) & 0xffffffu;
      const float fraction = static_cast<float>(bits) * 0x1p-24f;
      const float number = std::fma(fraction, to - from, from);
      std::memcpy(&bytes[at], &number, sizeof(float));
    }
    return bytes;
  }

  const Distribution distribution_;
  std::mt19937 generator_;
};

StoredProjection DrawProjection(const Widths& widths, bool bias,
                                core::Layout layout, Draw& draw) {
  StoredProjection projection;
  projection.weight.shape = layout == core::Layout::kInOut
                                ? std::vector{widths.in, widths.out}
                                : std::vector{widths.out, widths.in};
  projection.weight.data = draw.Weight(widths);
  if (bias) projection.bias = StoredTensor{{widths.out}, draw.Bias(widths)};
  return projection;
}

struct AllWidths {
  Widths query;
  Widths key;
  Widths value;
  Widths output;
};

AllWidths WidthsOf(const WeightSetDims& dims) {
  using core::SaturatingMultiply;
  return {
      {dims.query_width, SaturatingMultiply(dims.num_heads, dims.head_dim)},
      {dims.key_width, SaturatingMultiply(dims.num_kv_heads, dims.head_dim)},
      {dims.value_width, SaturatingMultiply(dims.num_kv_heads, dims.value_dim)},
      {SaturatingMultiply(dims.num_heads, dims.value_dim), dims.output_width}};
}

}  // namespace

absl::StatusOr<int64_t> InitializedBytes(const Initializer& initializer) {
  if (absl::Status sizes = CheckSizes(initializer); !sizes.ok()) return sizes;
  const AllWidths widths = WidthsOf(initializer.dims);
  const bool bias = initializer.input_bias;
  int64_t elements = Elements(widths.query, bias);
  elements = core::SaturatingAdd(elements, Elements(widths.key, bias));
  elements = core::SaturatingAdd(elements, Elements(widths.value, bias));
  elements = core::SaturatingAdd(
      elements, Elements(widths.output, initializer.output_bias));
  return core::SaturatingMultiply(elements, sizeof(float));
}

WeightSetContents Initialize(const Initializer& initializer) {
  const WeightSetDims& dims = initializer.dims;
  const bool bias = initializer.input_bias;
  const auto [query, key, value, output] = WidthsOf(dims);
  Draw draw(initializer.distribution, initializer.seed);
  WeightSetContents contents;
  contents.num_heads = dims.num_heads;
  contents.num_kv_heads = dims.num_kv_heads;
  contents.layout = initializer.layout;
  contents.dtype = DType::kFloat32;
  contents.query = DrawProjection(query, bias, initializer.layout, draw);
  contents.key = DrawProjection(key, bias, initializer.layout, draw);
  contents.value = DrawProjection(value, bias, initializer.layout, draw);
  if (dims.output_width > 0) {
    contents.output = DrawProjection(output, initializer.output_bias,
                                     initializer.layout, draw);
  }
  return contents;
}

}  // namespace attention::weights
