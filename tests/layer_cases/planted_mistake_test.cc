// The suite judges the core; this judges the suite. Each mistake is planted by
// handing the core another problem than the reference: a suite that still
// agrees would not see the same mistake in the core. And the cases must contain
// every option, or they would prove nothing about it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "tests/layer_cases/layer_case_change.h"
#include "tests/layer_cases/property_suite.h"

namespace attention::core {
namespace {

using reference::Alignment;
using reference::Input;
using reference::Problem;

constexpr int64_t kCases = 1000;

// Whether some case of the suite fails when the core is given what `plant`
// makes of it.
bool Caught(Dtype dtype, const std::function<void(LayerCase&)>& plant) {
  for (int64_t i = 0; i < kCases; ++i) {
    const LayerCase original =
        RandomLayerCase(dtype, kFirstPropertySeed + static_cast<uint64_t>(i));
    LayerCase planted = original;
    plant(planted);
    const CoreAnswer answer = RunCore(planted);
    // An option that the core refuses says nothing about its arithmetic.
    if (!answer.status.ok()) continue;
    for (const auto& [name, comparison] : Judge(original, answer)) {
      if (!comparison.ok) return true;
    }
  }
  return false;
}

double ScaleOf(const Problem& problem) {
  return problem.softmax_scale.value_or(
      1 / std::sqrt(static_cast<double>(problem.head_dim())));
}

// The same tensor with its heads in another order: head h takes what stands at
// h % group * kv_heads + h / group.
Input InterleavedHeads(const Input& input, int64_t group) {
  Input result = input;
  const auto [batch, heads, rows, columns] = input.shape;
  for (int64_t item = 0; item < batch; ++item) {
    for (int64_t head = 0; head < heads; ++head) {
      const int64_t from = head % group * (heads / group) + head / group;
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t column = 0; column < columns; ++column) {
          result.At(item, head, row, column) =
              input.At(item, from, row, column);
        }
      }
    }
  }
  return result;
}

struct Mistake {
  const char* name;
  std::function<void(LayerCase&)> plant;
};

const Mistake kMistakes[] = {
    {"causal off by one",
     [](LayerCase& c) {
       if (c.problem.causal) ShiftQueries(c.problem, -1);
     }},
    {"positions off by one", [](LayerCase& c) { ShiftQueries(c.problem, 1); }},
    {"query_offsets ignored",
     [](LayerCase& c) {
       if (c.problem.query_offsets.empty()) return;
       c.problem.query_offsets.clear();
       c.problem.alignment = Alignment::kTopLeft;
     }},
    {"TOP_LEFT for BOTTOM_RIGHT",
     [](LayerCase& c) {
       if (c.problem.alignment == Alignment::kBottomRight) {
         c.problem.alignment = Alignment::kTopLeft;
       }
     }},
    {"window_left one too wide",
     [](LayerCase& c) {
       if (c.problem.window_left) ++*c.problem.window_left;
     }},
    {"window_right one too wide",
     [](LayerCase& c) {
       if (c.problem.window_right) ++*c.problem.window_right;
     }},
    {"window_left ignored",
     [](LayerCase& c) {
       if (c.problem.causal) c.problem.window_left.reset();
     }},
    {"key_lengths one too short",
     [](LayerCase& c) {
       for (int64_t& length : c.problem.key_lengths) length -= length > 0;
     }},
    {"attend_mask ignored",
     [](LayerCase& c) { c.problem.attend_mask.reset(); }},
    {"polarity of attend_mask",
     [](LayerCase& c) {
       if (!c.problem.attend_mask) return;
       for (double& e : c.problem.attend_mask->elements) e = 1 - e;
     }},
    {"bias ignored", [](LayerCase& c) { c.problem.bias.reset(); }},
    {"lowest bias taken for -inf",
     [](LayerCase& c) {
       if (!c.problem.bias) return;
       for (double& e : c.problem.bias->elements) {
         if (e < -1e38) e = -std::numeric_limits<double>::infinity();
       }
     }},
    {"scale from value_dim",
     [](LayerCase& c) {
       if (c.problem.softmax_scale) return;
       c.problem.softmax_scale =
           1 / std::sqrt(static_cast<double>(c.problem.value_dim()));
     }},
    {"scale ignored", [](LayerCase& c) { c.problem.softmax_scale.reset(); }},
    {"scale off by 40 roundoffs",
     [](LayerCase& c) {
       const double off =
           40 * static_cast<double>(ComputePrecision(c.dtype).unit_roundoff);
       c.problem.softmax_scale = ScaleOf(c.problem) * (1 + off);
     }},
    {"softcap ignored", [](LayerCase& c) { c.problem.softcap.reset(); }},
    {"softcap off by 40 roundoffs",
     [](LayerCase& c) {
       const double off =
           40 * static_cast<double>(ComputePrecision(c.dtype).unit_roundoff);
       if (c.problem.softcap) *c.problem.softcap *= 1 + off;
     }},
    {"dropout ignored", [](LayerCase& c) { c.problem.dropout.reset(); }},
    {"another dropout seed",
     [](LayerCase& c) {
       if (c.problem.dropout) ++c.problem.dropout->seed;
     }},
    {"query heads of a group apart",
     [](LayerCase& c) {
       if (c.problem.weights || c.key_is_query) return;
       c.problem.query = InterleavedHeads(
           c.problem.query, c.problem.num_heads / c.problem.num_kv_heads);
     }},
    {"OUT_IN not transposed",
     [](LayerCase& c) {
       if (c.problem.weights) c.problem.weights->key.out_in ^= true;
     }},
    {"projection bias ignored",
     [](LayerCase& c) {
       if (c.problem.weights) c.problem.weights->value.bias.clear();
     }},
    {"output bias ignored",
     [](LayerCase& c) {
       if (c.problem.weights && c.problem.weights->output) {
         c.problem.weights->output->bias.clear();
       }
     }},
};

TEST(PlantedMistake, EachIsCaught) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64}) {
    for (const auto& [name, plant] : kMistakes) {
      EXPECT_TRUE(Caught(dtype, plant)) << name << " in " << DtypeName(dtype);
    }
  }
}

TEST(PlantedMistake, NothingPlantedIsNotCaught) {
  EXPECT_FALSE(Caught(Dtype::kFloat32, [](LayerCase&) {}));
}

TEST(PlantedMistake, NanInOneElementIsCaught) {
  const LayerCase layer_case = RandomLayerCase(Dtype::kFloat32, 1);
  CoreAnswer answer = RunCore(layer_case);
  ASSERT_TRUE(answer.status.ok()) << answer.status;
  ASSERT_FALSE(answer.output.elements.empty());
  EXPECT_TRUE(Judge(layer_case, answer)["output"].ok);
  answer.output.elements.back() = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(Judge(layer_case, answer)["output"].ok);
}

bool HasDeadRow(const LayerCase& c) {
  const reference::Answer answer =
      Attention(c.problem, ComputePrecision(c.dtype));
  const auto& lse = answer.lse.elements;
  return std::any_of(lse.begin(), lse.end(), [](const reference::Bounded& row) {
    return std::isinf(row.value);
  });
}

bool HasLowestBias(const LayerCase& c) {
  if (!c.problem.bias) return false;
  const auto& bias = c.problem.bias->elements;
  return std::find(bias.begin(), bias.end(),
                   std::numeric_limits<float>::lowest()) != bias.end();
}

bool HasNan(const Input& input) {
  return std::any_of(input.elements.begin(), input.elements.end(),
                     [](double element) { return std::isnan(element); });
}

bool HasKeyLengthZero(const LayerCase& c) {
  const auto& lengths = c.problem.key_lengths;
  return c.problem.kv_len() > 0 &&
         std::find(lengths.begin(), lengths.end(), 0) != lengths.end();
}

// How often each option occurs among the first cases.
std::map<std::string, int> CountOptions() {
  std::map<std::string, int> counts;
  for (int64_t i = 0; i < kCases; ++i) {
    const LayerCase c = RandomLayerCase(
        Dtype::kFloat32, kFirstPropertySeed + static_cast<uint64_t>(i));
    const Problem& p = c.problem;
    const auto* weights = p.weights ? &*p.weights : nullptr;
    const std::pair<const char*, bool> options[] = {
        {"batch 0", p.batch() == 0},
        {"batch above 1", p.batch() > 1},
        {"query_len 0", p.query_len() == 0},
        {"query_len 1", p.query_len() == 1},
        {"kv_len 0", p.kv_len() == 0},
        {"kv_len 1", p.kv_len() == 1},
        {"several query tiles", p.query_len() > 96},
        {"several stacked tiles",
         !c.stage && !c.top_k &&
             p.query_len() * p.num_heads / p.num_kv_heads > 256},
        {"several tiles of keys", !c.stage && !c.top_k && p.kv_len() > 512},
        {"long rows of keys", p.kv_len() > 1000},
        {"long heads", p.head_dim() > 256},
        {"value_dim is another", p.value_dim() != p.head_dim()},
        {"grouped heads", p.num_kv_heads > 1 && p.num_heads > p.num_kv_heads},
        {"one key/value head", p.num_kv_heads == 1 && p.num_heads > 1},
        {"weights", weights != nullptr},
        {"no weights", weights == nullptr},
        {"output projection", weights && weights->output},
        {"wide output",
         weights && weights->output && weights->output->out > 384},
        {"IN_OUT", weights && !weights->query.out_in},
        {"OUT_IN", weights && weights->query.out_in},
        {"widths differ", weights && weights->query.in != weights->key.in},
        {"self-attention", c.key_is_query},
        {"cross-attention", !c.key_is_query && !c.value_is_key},
        {"heads side by side", c.heads_side_by_side},
        {"causal", p.causal},
        {"window_left", p.window_left.has_value()},
        {"window_right", p.window_right.has_value()},
        {"TOP_LEFT", p.alignment == Alignment::kTopLeft},
        {"BOTTOM_RIGHT", p.alignment == Alignment::kBottomRight},
        {"query_offsets", !p.query_offsets.empty()},
        {"key_lengths", !p.key_lengths.empty()},
        {"key_lengths 0", HasKeyLengthZero(c)},
        {"NaN beyond key_lengths", HasNan(p.key)},
        {"attend_mask", p.attend_mask.has_value()},
        {"bias", p.bias.has_value()},
        {"lowest finite bias", HasLowestBias(c)},
        {"mask and bias and causal",
         p.attend_mask && p.bias && p.causal && !p.key_lengths.empty()},
        {"scale", p.softmax_scale.has_value()},
        {"scale 0", p.softmax_scale == 0},
        {"softcap", p.softcap.has_value()},
        {"dropout", p.dropout.has_value()},
        {"SCORES", c.stage == Stage::kScores},
        {"SOFTCAPPED", c.stage == Stage::kSoftcapped},
        {"BIASED", c.stage == Stage::kBiased},
        {"ATTENTION_WEIGHTS", c.stage == Stage::kAttentionWeights && !c.mean},
        {"MEAN", c.mean},
        {"top_k", c.top_k.has_value()},
        {"lse", c.lse},
        {"dead row", i < kCases / 10 && HasDeadRow(c)},
    };
    for (const auto& [name, occurs] : options) counts[name] += occurs ? 1 : 0;
  }
  return counts;
}

TEST(RandomLayerCase, HasEveryOption) {
  for (const auto& [name, count] : CountOptions()) EXPECT_GE(count, 3) << name;
}

TEST(RandomLayerCase, IsTheSameForTheSameSeed) {
  const LayerCase first = RandomLayerCase(Dtype::kFloat64, 7);
  const LayerCase second = RandomLayerCase(Dtype::kFloat64, 7);
  EXPECT_EQ(first.Describe(), second.Describe());
  EXPECT_EQ(first.problem.query.elements, second.problem.query.elements);
  EXPECT_NE(first.Describe(), RandomLayerCase(Dtype::kFloat64, 8).Describe());
}

}  // namespace
}  // namespace attention::core
