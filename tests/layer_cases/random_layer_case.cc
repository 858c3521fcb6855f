#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "tests/layer_cases/dice.h"
#include "tests/layer_cases/layer_case.h"

namespace attention::core {
namespace {

using reference::Input;
using reference::Problem;

struct Sizes {
  int64_t batch;
  int64_t num_kv_heads;
  int64_t group;  // query heads per key/value head
  int64_t query_len;
  int64_t kv_len;
  int64_t head_dim;
  int64_t value_dim;
  int64_t width_limit;  // of what projections read and write
};

// Lengths around whole tiles of 96 rows and of 256 stacked ones, and around one
// and two register tiles.
int64_t QueryLengthAtAnEdge(Dice& dice) {
  return dice.Pick<int64_t>({11,  12,  13,  24,  25,  85,  86,  95,  96,  97,
                             127, 128, 129, 191, 192, 193, 255, 256, 257, 513});
}

// Lengths around whole tiles of 512 keys, and some between.
int64_t KeyLengthAtAnEdge(Dice& dice) {
  return dice.Pick<int64_t>(
      {256, 383, 384, 385, 511, 512, 513, 700, 1023, 1024, 1025, 1200, 1537});
}

Sizes DrawSizes(Dice& dice) {
  const double kind = dice.Uniform();
  const int64_t batch = dice.Between(1, 3);
  const int64_t heads = dice.Between(1, 3);
  const int64_t group = dice.Between(1, 3);
  if (kind < 0.70) {
    return {batch,
            heads,
            group,
            dice.Between(1, 12),
            dice.Between(1, 16),
            dice.Between(1, 12),
            dice.Between(1, 12),
            16};
  }
  if (kind < 0.84) {  // middling
    return {dice.Between(1, 2),  dice.Between(1, 2),
            dice.Between(1, 2),  dice.Between(1, 50),
            dice.Between(1, 90), dice.Between(1, 32),
            dice.Between(1, 32), 48};
  }
  if (kind < 0.90) {  // edges of tiles of rows
    return {dice.Between(1, 2),
            1,
            dice.Between(1, 3),
            QueryLengthAtAnEdge(dice),
            dice.Pick<int64_t>({1, 11, 12, 13, 40, 96, 97}),
            dice.Between(1, 6),
            dice.Between(1, 6),
            12};
  }
  if (kind < 0.94) {  // long sums in scores and projections, wide panels
    return {dice.Between(1, 2),
            1,
            dice.Between(1, 3),
            dice.Between(1, 6),
            dice.Between(1, 10),
            dice.Pick<int64_t>({63, 64, 65, 128, 255, 256, 257, 385}),
            dice.Pick<int64_t>({1, 64, 100, 129, 257, 385}),
            400};
  }
  if (kind < 0.97) {  // long sums in softmax and output, edges of tiles of keys
    return {dice.Between(1, 2),      1,
            dice.Between(1, 2),      dice.Between(1, 4),
            KeyLengthAtAnEdge(dice), dice.Between(1, 6),
            dice.Between(1, 6),      12};
  }
  if (kind < 0.975) {  // several tiles with sums of ordinary length
    return {1,
            1,
            dice.Between(1, 2),
            dice.Between(90, 220),
            dice.Between(90, 220),
            dice.Pick<int64_t>({32, 64, 80}),
            dice.Pick<int64_t>({32, 48, 64}),
            64};
  }
  return {dice.Between(0, 2),
          heads,
          group,
          dice.Between(0, 3),
          dice.Between(0, 2),
          dice.Between(1, 4),
          dice.Between(1, 4),
          8};
}

// Rounds to what the dtype holds.
class Rounding {
 public:
  explicit Rounding(Dtype dtype)
      : dtype_(dtype), format_(OutputFormat(dtype)) {}

  double operator()(double value) const {
    if (dtype_ == Dtype::kFloat64) return value;
    if (dtype_ == Dtype::kFloat32) return static_cast<float>(value);
    return static_cast<double>(reference::RoundToFormat(value, *format_));
  }

 private:
  Dtype dtype_;
  std::optional<reference::Format> format_;
};

// From near 0 in the first row to 1 in the last.
double GrowthAt(const reference::Shape& shape, size_t index) {
  const int64_t row = static_cast<int64_t>(index) / shape[3] % shape[2];
  return static_cast<double>(row + 1) / static_cast<double>(shape[2]);
}

// Elements of one tensor, in one of several styles.
void Fill(Dice& dice, Dtype dtype, Input& tensor) {
  const Rounding round(dtype);
  const double kind = dice.Uniform();
  // Products of two such elements underflow the arithmetic, or nearly.
  const double tiny = dtype == Dtype::kFloat64   ? 1e-160
                      : dtype == Dtype::kFloat16 ? 1e-6
                                                 : 1e-22;
  // A softmax over scores this far apart has weights that underflow.
  const double steep = dtype == Dtype::kFloat16 ? 6 : 20;
  double scale = 1;
  if (kind > 0.55) scale = 0.05;
  if (kind > 0.65) scale = 4;
  if (kind > 0.72) scale = steep;
  if (kind > 0.77) scale = tiny;
  const bool integers = kind > 0.80;  // many equal scores
  const bool one_number = kind > 0.95;
  const double number = dice.Bell();
  // Rows that grow: with one number, scores that rise from key to key.
  const bool growing = dice.Chance(one_number ? 0.7 : 0.1);
  for (size_t i = 0; i < tensor.elements.size(); ++i) {
    double element = integers ? static_cast<double>(dice.Between(-2, 2))
                              : scale * dice.Bell();
    if (one_number) element = number;
    if (growing) element *= GrowthAt(tensor.shape, i);
    tensor.elements[i] = round(element);
  }
}

reference::Projection DrawProjection(Dice& dice, Dtype dtype, int64_t in,
                                     int64_t out) {
  const Rounding round(dtype);
  reference::Projection projection;
  projection.in = in;
  projection.out = out;
  projection.out_in = dice.Chance(0.5);
  // Keeps numbers at the size of the input, so that FLOAT16 does not overflow.
  const double scale = 1 / std::sqrt(static_cast<double>(in));
  projection.weight.resize(static_cast<size_t>(in * out));
  for (double& element : projection.weight) {
    element = round(scale * dice.Bell());
  }
  if (dice.Chance(0.5)) {
    projection.bias.resize(static_cast<size_t>(out));
    for (double& element : projection.bias) element = round(dice.Bell());
  }
  return projection;
}

// Draws one case, part by part.
class Drawing {
 public:
  Drawing(Dtype dtype, uint64_t seed) : dice_(seed), sizes_(DrawSizes(dice_)) {
    case_.seed = seed;
    case_.dtype = dtype;
  }

  LayerCase Draw() {
    DrawTensors();
    DrawMasks();
    DrawPositions();
    DrawFactors();
    DrawRequest();
    SpoilWhatIsNotRead();
    return std::move(case_);
  }

 private:
  Problem& problem() { return case_.problem; }

  Input DrawInput(reference::Shape shape) {
    Input input = reference::MakeTensor<double>(shape);
    Fill(dice_, case_.dtype, input);
    return input;
  }

  void DrawTensors() {
    problem().num_kv_heads = sizes_.num_kv_heads;
    problem().num_heads = sizes_.num_kv_heads * sizes_.group;
    const bool self = dice_.Chance(0.3);
    if (self) sizes_.kv_len = sizes_.query_len;
    case_.value_is_key = self || dice_.Chance(0.15);
    if (dice_.Chance(0.45)) {
      case_.key_is_query = self;
      DrawWeights();
    } else {
      case_.key_is_query = self && sizes_.group == 1;
      case_.heads_side_by_side = dice_.Chance(0.5);
      if (case_.value_is_key) sizes_.value_dim = sizes_.head_dim;
      DrawHeads();
    }
    if (case_.key_is_query) problem().key = problem().query;
    if (case_.value_is_key) problem().value = problem().key;
  }

  void DrawHeads() {
    const int64_t kv_heads = sizes_.num_kv_heads;
    problem().query = DrawInput(
        {sizes_.batch, problem().num_heads, sizes_.query_len, sizes_.head_dim});
    problem().key =
        DrawInput({sizes_.batch, kv_heads, sizes_.kv_len, sizes_.head_dim});
    problem().value =
        DrawInput({sizes_.batch, kv_heads, sizes_.kv_len, sizes_.value_dim});
  }

  void DrawWeights() {
    const auto width = [this] {
      return dice_.Chance(0.25) ? sizes_.width_limit
                                : dice_.Between(1, sizes_.width_limit);
    };
    const int64_t query_width = width();
    const int64_t key_width = case_.key_is_query ? query_width : width();
    const int64_t value_width = case_.value_is_key ? key_width : width();
    problem().query =
        DrawInput({sizes_.batch, 1, sizes_.query_len, query_width});
    problem().key = DrawInput({sizes_.batch, 1, sizes_.kv_len, key_width});
    problem().value = DrawInput({sizes_.batch, 1, sizes_.kv_len, value_width});

    const auto projection = [this](int64_t in, int64_t out) {
      return DrawProjection(dice_, case_.dtype, in, out);
    };
    const int64_t heads = problem().num_heads;
    const int64_t kv_heads = problem().num_kv_heads;
    reference::Weights weights;
    weights.query = projection(query_width, heads * sizes_.head_dim);
    weights.key = projection(key_width, kv_heads * sizes_.head_dim);
    weights.value = projection(value_width, kv_heads * sizes_.value_dim);
    if (dice_.Chance(0.6)) {
      weights.output = projection(heads * sizes_.value_dim, width());
    }
    problem().weights = std::move(weights);
  }

  // [batch, num_heads, query_len, kv_len], each axis that or 1.
  reference::Shape DrawMaskShape() {
    reference::Shape shape = {sizes_.batch, problem().num_heads,
                              sizes_.query_len, sizes_.kv_len};
    const auto rank = dice_.Pick<int64_t>({1, 2, 4});
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      const bool absent = static_cast<int64_t>(axis) < 4 - rank;
      if (absent || dice_.Chance(0.3)) shape[axis] = 1;
    }
    return shape;
  }

  // Calls back with each element of `mask` and whether its row shall be dead.
  template <typename Function>
  void ForEachInRows(Input& mask, Function function) {
    const auto columns = static_cast<size_t>(mask.shape[3]);
    for (size_t i = 0; i < mask.elements.size(); i += columns) {
      const bool dead = dice_.Chance(0.1);
      for (size_t j = i; j < i + columns; ++j) function(mask.elements[j], dead);
    }
  }

  void DrawMasks() {
    if (dice_.Chance(0.35)) {
      Input mask = reference::MakeTensor<double>(DrawMaskShape());
      const double density = dice_.Uniform(0.2, 1);
      ForEachInRows(mask, [&](double& element, bool dead) {
        element = !dead && dice_.Chance(density) ? 1 : 0;
      });
      problem().attend_mask = std::move(mask);
    }
    if (dice_.Chance(0.35)) {
      Input bias = reference::MakeTensor<double>(DrawMaskShape());
      const double size = dice_.Pick({0.1, 1.0, 5.0, 40.0});
      const double excluded = dice_.Pick({0.0, 0.2});
      const double lowest = dice_.Pick({0.0, 0.0, 0.2, 1.0});
      ForEachInRows(bias, [&](double& element, bool dead) {
        element = ComputeType(size * dice_.Bell());
        if (dice_.Chance(lowest)) element = Lowest();
        if (dead || dice_.Chance(excluded)) {
          element = -std::numeric_limits<double>::infinity();
        }
      });
      problem().bias = std::move(bias);
    }
  }

  double ComputeType(double value) const {
    return case_.dtype == Dtype::kFloat64 ? value : static_cast<float>(value);
  }

  double Lowest() const {
    return case_.dtype == Dtype::kFloat64
               ? std::numeric_limits<double>::lowest()
               : std::numeric_limits<float>::lowest();
  }

  int64_t DrawWindow() {
    if (dice_.Chance(0.05)) return std::numeric_limits<int32_t>::max();
    return dice_.Between(0, sizes_.kv_len + 2);
  }

  int64_t DrawOffset() {
    if (dice_.Chance(0.04)) return std::numeric_limits<int32_t>::min();
    if (dice_.Chance(0.04)) return std::numeric_limits<int32_t>::max();
    return dice_.Between(-sizes_.query_len - sizes_.kv_len - 1,
                         2 * sizes_.kv_len + 1);
  }

  void DrawPositions() {
    if (dice_.Chance(0.3)) {
      for (int64_t item = 0; item < sizes_.batch; ++item) {
        problem().key_lengths.push_back(
            dice_.Chance(0.15) ? dice_.Pick<int64_t>({0, sizes_.kv_len})
                               : dice_.Between(0, sizes_.kv_len));
      }
    }
    problem().causal = dice_.Chance(0.35);
    if (dice_.Chance(0.25)) problem().window_left = DrawWindow();
    if (dice_.Chance(0.2)) problem().window_right = DrawWindow();
    const bool positions_matter =
        problem().causal || problem().window_left || problem().window_right;
    const bool open = !positions_matter || (sizes_.query_len == sizes_.kv_len &&
                                            problem().key_lengths.empty());
    if (open && dice_.Chance(0.5)) return;
    if (positions_matter && dice_.Chance(0.4)) {
      for (int64_t item = 0; item < sizes_.batch; ++item) {
        problem().query_offsets.push_back(DrawOffset());
      }
    }
    // Not an else: an empty batch has no offset to give.
    if (!problem().query_offsets.empty()) return;
    problem().alignment = dice_.Chance(0.5)
                              ? reference::Alignment::kTopLeft
                              : reference::Alignment::kBottomRight;
  }

  void DrawFactors() {
    if (dice_.Chance(0.4)) {
      problem().softmax_scale = dice_.Chance(0.5)
                                    ? dice_.Pick({0.0, 1.0, 0.125, -0.5})
                                    : dice_.Uniform(-0.5, 2);
    }
    if (dice_.Chance(0.25)) {
      problem().softcap = dice_.Chance(0.5) ? dice_.Pick({0.5, 30.0, 50.0, 1e6})
                                            : dice_.Uniform(0.1, 20);
    }
    if (dice_.Chance(0.2)) {
      problem().dropout = {dice_.Chance(0.5) ? dice_.Pick({0.0, 0.1, 0.5, 0.99})
                                             : dice_.Uniform(),
                           dice_.Chance(0.2)
                               ? std::numeric_limits<uint64_t>::max()
                               : dice_.Bits()};
    }
  }

  void DrawRequest() {
    case_.lse = dice_.Chance(0.5);
    if (dice_.Chance(0.35)) {
      case_.stage =
          dice_.Pick({Stage::kScores, Stage::kSoftcapped, Stage::kBiased,
                      Stage::kAttentionWeights, Stage::kAttentionWeights});
      case_.mean = case_.stage == Stage::kAttentionWeights && dice_.Chance(0.5);
    } else if (dice_.Chance(0.25)) {
      case_.top_k =
          std::min(sizes_.kv_len, dice_.Between(1, sizes_.kv_len + 1));
    }
  }

  // NaN in keys and values beyond key_lengths, unless the query lies there too.
  void SpoilWhatIsNotRead() {
    if (problem().key_lengths.empty() || case_.key_is_query ||
        dice_.Chance(0.3)) {
      return;
    }
    for (Input* tensor : {&problem().key, &problem().value}) {
      const auto [batch, heads, rows, columns] = tensor->shape;
      for (int64_t item = 0; item < batch; ++item) {
        for (int64_t head = 0; head < heads; ++head) {
          for (int64_t row = problem().valid_kv_len(item); row < rows; ++row) {
            for (int64_t column = 0; column < columns; ++column) {
              tensor->At(item, head, row, column) =
                  std::numeric_limits<double>::quiet_NaN();
            }
          }
        }
      }
    }
  }

  Dice dice_;
  Sizes sizes_;
  LayerCase case_;
};

}  // namespace

LayerCase RandomLayerCase(Dtype dtype, uint64_t seed) {
  return Drawing(dtype, seed).Draw();
}

}  // namespace attention::core
