// What the parts of one answer say about each other: stages of the attention
// matrix, mean, top-k, log-sum-exp, output, dropout.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "tests/layer_cases/metamorphic.h"
#include "tests/reference/reference_softmax.h"

namespace attention::core {
namespace {

using reference::Bounded;
using reference::Exact;
using reference::Input;
using reference::MakeTensor;
using reference::Precision;
using reference::Problem;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A case with masks, a softcap and unequal key_lengths, and equal scores here
// and there; nothing in it lets one stage see other keys than another.
LayerCase StagedCase(Dtype dtype, uint64_t seed) {
  LayerCase layer_case = SmallCase(dtype, seed);
  Problem& problem = layer_case.problem;
  Dice dice(seed + 7);
  if (dice.Chance(0.5)) {
    for (Input* tensor : {&problem.query, &problem.key}) {
      for (double& element : tensor->elements) element = std::round(element);
    }
  } else {
    problem.bias = OrdinaryNumbers(dtype, seed + 5, MatrixShape(problem));
  }
  if (dice.Chance(0.5)) problem.softcap = 3;
  problem.attend_mask = MaskWhere(
      MatrixShape(problem),
      [&](int64_t, int64_t, int64_t, int64_t) { return dice.Chance(0.8); });
  for (int64_t item = 0; item < problem.batch(); ++item) {
    problem.key_lengths.push_back(dice.Between(0, problem.kv_len()));
  }
  layer_case.stage.reset();
  return layer_case;
}

CoreAnswer AnswerAt(LayerCase layer_case, Stage stage) {
  layer_case.stage = stage;
  CoreAnswer answer = RunCore(layer_case);
  EXPECT_TRUE(answer.status.ok()) << answer.status;
  return answer;
}

// number as the arithmetic of `dtype` holds it.
double InComputeType(Dtype dtype, double number) {
  return dtype == Dtype::kFloat64 ? number : static_cast<float>(number);
}

TEST_P(MetamorphicTest, SoftcappedFollowsFromScores) {
  const Precision precision = ComputePrecision(GetParam());
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase layer_case = StagedCase(GetParam(), seed);
    const Input scores = AnswerAt(layer_case, Stage::kScores).matrix;
    layer_case.problem.softcap.reset();
    ExpectSameBits("without softcap",
                   AnswerAt(layer_case, Stage::kSoftcapped).matrix, scores);
    layer_case.problem.softcap = 1.5;
    auto expected = MakeTensor<Bounded>(scores.shape);
    for (size_t i = 0; i < scores.elements.size(); ++i) {
      const double score = scores.elements[i];
      expected.elements[i] = std::isinf(score)
                                 ? Exact(score)
                                 : Softcap(Exact(score), 1.5L, precision);
    }
    const auto comparison =
        Compare("SOFTCAPPED", AnswerAt(layer_case, Stage::kSoftcapped).matrix,
                expected);
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
}

TEST_P(MetamorphicTest, BiasedIsSoftcappedPlusBiasWhereAttended) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase layer_case = StagedCase(GetParam(), seed);
    const Problem& problem = layer_case.problem;
    Input expected = AnswerAt(layer_case, Stage::kSoftcapped).matrix;
    const Input attended =
        MaskWhere(expected.shape,
                  [&](int64_t item, int64_t head, int64_t row, int64_t key) {
                    return key < problem.valid_kv_len(item) &&
                           problem.attend_mask->At(item, head, row, key) == 1;
                  });
    for (size_t i = 0; i < expected.elements.size(); ++i) {
      double& element = expected.elements[i];
      if (attended.elements[i] == 0) {
        element = -kInfinity;
      } else if (problem.bias) {
        // One addition. Rounding it to double first changes nothing for float:
        // double has more than twice its digits.
        element =
            InComputeType(GetParam(), element + problem.bias->elements[i]);
      }
    }
    ExpectSameBits("BIASED", AnswerAt(layer_case, Stage::kBiased).matrix,
                   expected);
  }
}

// A softmax of given scores: the biased scores go back as a bias on scores of
// 0, which is exact, so that only the softmax itself may err.
TEST_P(MetamorphicTest, WeightsAndLseFollowFromTheBiasedScores) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase layer_case = StagedCase(GetParam(), seed);
    LayerCase given = layer_case;
    given.problem.softcap.reset();
    given.problem.softmax_scale = 0;
    given.problem.attend_mask.reset();
    given.problem.bias = AnswerAt(layer_case, Stage::kBiased).matrix;
    const reference::Answer expected =
        Attention(given.problem, ComputePrecision(GetParam()));
    const CoreAnswer answer = AnswerAt(layer_case, Stage::kAttentionWeights);
    auto comparison =
        Compare("weights", answer.matrix, expected.attention_weights);
    comparison.Merge(Compare("lse", answer.lse, expected.lse));
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
}

TEST_P(MetamorphicTest, OutputIsTheAttentionMatrixTimesValue) {
  const Precision precision = ComputePrecision(GetParam());
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase layer_case = StagedCase(GetParam(), seed);
    const Problem& problem = layer_case.problem;
    const CoreAnswer answer = AnswerAt(layer_case, Stage::kAttentionWeights);
    const int64_t group = problem.num_heads / problem.num_kv_heads;
    const auto [batch, heads, rows, columns] = answer.output.shape;
    auto expected = MakeTensor<Bounded>(answer.output.shape);
    for (int64_t item = 0; item < batch; ++item) {
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t row = 0; row < rows; ++row) {
          for (int64_t column = 0; column < columns; ++column) {
            reference::DotProduct dot;
            for (int64_t key = 0; key < problem.valid_kv_len(item); ++key) {
              dot.Add(Exact(answer.matrix.At(item, head, row, key)),
                      Exact(problem.value.At(item, head / group, key, column)));
            }
            expected.At(item, head, row, column) = dot.Result(precision);
          }
        }
      }
    }
    const auto comparison = Compare("output", answer.output, expected);
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
}

TEST_P(MetamorphicTest, MeanIsTheAverageOfTheHeads) {
  const Precision precision = ComputePrecision(GetParam());
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase layer_case = StagedCase(GetParam(), seed);
    const int64_t heads = layer_case.problem.num_heads;
    const Input each = AnswerAt(layer_case, Stage::kAttentionWeights).matrix;
    layer_case.mean = true;
    const Input mean = AnswerAt(layer_case, Stage::kAttentionWeights).matrix;
    auto expected = MakeTensor<Bounded>(mean.shape);
    for (int64_t i = 0; i < reference::ElementCount(mean.shape); ++i) {
      // [batch, 1, rows, keys] against [batch, heads, rows, keys].
      const int64_t in_head = mean.shape[2] * mean.shape[3];
      Bounded sum = Exact(0);
      for (int64_t head = 0; head < heads; ++head) {
        const int64_t at = (i / in_head * heads + head) * in_head + i % in_head;
        sum.value += each.elements[static_cast<size_t>(at)];
      }
      sum.value /= static_cast<long double>(heads);
      // All terms are positive: heads - 1 additions, and a division or the
      // product with a rounded reciprocal.
      expected.elements[static_cast<size_t>(i)] =
          sum.value == 0 ? sum : Rounded(sum, heads + 1, precision);
    }
    const auto comparison = Compare("MEAN", mean, expected);
    EXPECT_TRUE(comparison.ok) << comparison.message;
  }
}

// Keys of one row by descending weight, ties to the lower index.
std::vector<int64_t> SortedKeys(const std::vector<double>& weights,
                                const std::vector<double>& biased) {
  std::vector<int64_t> keys;
  for (size_t key = 0; key < weights.size(); ++key) {
    if (!std::isinf(biased[key])) keys.push_back(static_cast<int64_t>(key));
  }
  std::stable_sort(keys.begin(), keys.end(), [&](int64_t a, int64_t b) {
    return weights[static_cast<size_t>(a)] > weights[static_cast<size_t>(b)];
  });
  return keys;
}

std::vector<double> RowOf(const Input& matrix, int64_t row) {
  const int64_t columns = matrix.shape[3];
  const auto first = matrix.elements.begin() + row * columns;
  return {first, first + columns};
}

TEST_P(MetamorphicTest, TopKIsTheSortedMatrix) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase layer_case = StagedCase(GetParam(), seed);
    const Input weights = AnswerAt(layer_case, Stage::kAttentionWeights).matrix;
    const Input biased = AnswerAt(layer_case, Stage::kBiased).matrix;
    const int64_t kv_len = layer_case.problem.kv_len();
    layer_case.top_k = 1 + static_cast<int64_t>(seed) % kv_len;
    const CoreAnswer top = RunCore(layer_case);
    ASSERT_TRUE(top.status.ok()) << top.status;
    const auto slots = static_cast<size_t>(*layer_case.top_k);
    Input expected_weights = MakeTensor<double>(top.top_k_weights.shape, 0);
    Input expected_indices = MakeTensor<double>(top.top_k_weights.shape, -1);
    const int64_t rows = reference::ElementCount(weights.shape) / kv_len;
    for (int64_t row = 0; row < rows; ++row) {
      const std::vector<double> of_row = RowOf(weights, row);
      const auto keys = SortedKeys(of_row, RowOf(biased, row));
      for (size_t slot = 0; slot < std::min(slots, keys.size()); ++slot) {
        const size_t at = static_cast<size_t>(row) * slots + slot;
        expected_weights.elements[at] = of_row[static_cast<size_t>(keys[slot])];
        expected_indices.elements[at] = static_cast<double>(keys[slot]);
      }
    }
    ExpectSameBits("top_k weights", top.top_k_weights, expected_weights);
    ExpectSameBits("top_k indices", top.top_k_indices, expected_indices);
  }
}

// One head of 100 x 1000 equal attention weights.
LayerCase EvenCase(Dtype dtype, double probability, uint64_t seed) {
  LayerCase layer_case = PlainCase(dtype, 1, {1, 1, 1, 100, 1000, 1, 1});
  layer_case.problem.softmax_scale = 0;
  layer_case.problem.dropout = {probability, seed};
  layer_case.stage = Stage::kAttentionWeights;
  return layer_case;
}

double DroppedShare(const Input& weights) {
  const auto zeros =
      std::count(weights.elements.begin(), weights.elements.end(), 0.0);
  return static_cast<double>(zeros) /
         static_cast<double>(weights.elements.size());
}

TEST_P(MetamorphicTest, DropoutDropsItsProbabilityAndScalesTheRest) {
  for (const double probability : {0.001, 0.1, 0.5, 0.9}) {
    const LayerCase dropped = EvenCase(GetParam(), probability, 42);
    LayerCase kept = dropped;
    kept.problem.dropout.reset();
    const Input after = RunCore(dropped).matrix;
    const Input before = RunCore(kept).matrix;
    // The number dropped of n is binomial, of standard deviation
    // sqrt(n p (1 - p)); beyond 5 of them lie 6 seeds of 10 million.
    const auto count = static_cast<double>(after.elements.size());
    const double deviation = std::sqrt(probability * (1 - probability) / count);
    EXPECT_NEAR(DroppedShare(after), probability, 5 * deviation);

    const double factor = InComputeType(GetParam(), 1 / (1 - probability));
    for (size_t i = 0; i < after.elements.size(); ++i) {
      if (after.elements[i] == 0) continue;
      // A product of two floats is exact in double, and rounded once here.
      ASSERT_EQ(after.elements[i],
                InComputeType(GetParam(), before.elements[i] * factor));
    }
  }
}

TEST_P(MetamorphicTest, DropoutOfProbabilityZeroChangesNoBit) {
  LayerCase layer_case = EvenCase(GetParam(), 0, 42);
  const CoreAnswer with = RunCore(layer_case);
  layer_case.problem.dropout.reset();
  ExpectSameBits(with, RunCore(layer_case));
}

// Where zeros are.
Input Pattern(const LayerCase& layer_case) {
  Input weights = AnswerAt(layer_case, Stage::kAttentionWeights).matrix;
  for (double& element : weights.elements) element = element == 0 ? 1 : 0;
  return weights;
}

TEST_P(MetamorphicTest, DropoutDependsOnThePlaceAlone) {
  LayerCase whole = PlainCase(GetParam(), 3, {3, 2, 1, 300, 600, 4, 4});
  whole.problem.dropout = {0.3, 1234567890123};
  const Input pattern = Pattern(whole);

  LayerCase fewer = SelectKeys(whole, FirstIndices(71));
  fewer.problem.query = Select(fewer.problem.query, 2, FirstIndices(13));
  ExpectSameBits(
      "fewer rows and keys", Pattern(fewer),
      Select(Select(pattern, 3, FirstIndices(71)), 2, FirstIndices(13)));
  LayerCase causal = whole;
  causal.problem.causal = true;
  causal.problem.query_offsets = {599, 599, 599};  // sees everything
  ExpectSameBits("causal", Pattern(causal), pattern);

  for (size_t axis = 0; axis < 2; ++axis) {
    EXPECT_FALSE(CompareBits("items or heads", Select(pattern, axis, {0}),
                             Select(pattern, axis, {1}))
                     .ok);
  }
  LayerCase other_seed = whole;
  ++other_seed.problem.dropout->seed;
  ExpectSameBits("item 1 of a seed is item 0 of the next",
                 Select(Pattern(other_seed), 0, {0}), Select(pattern, 0, {1}));
}

// Output without the matrix goes another way through the core: the same keys
// must be dropped there.
TEST_P(MetamorphicTest, DropoutIsTheSameWithAndWithoutTheMatrix) {
  LayerCase tiled = PlainCase(GetParam(), 4, {1, 2, 1, 130, 1100, 2, 2});
  tiled.problem.dropout = {0.5, 99};
  tiled.lse = true;
  LayerCase whole = tiled;
  whole.stage = Stage::kAttentionWeights;
  ExpectClose(Computed(tiled), Computed(whole));
}

TEST_P(MetamorphicTest, ItemOfADropoutBatchIsTheItemAloneWithSeedPlusItem) {
  LayerCase batch = PlainCase(GetParam(), 5, {3, 2, 2, 20, 30, 4, 4});
  batch.problem.dropout = {0.4, std::numeric_limits<uint64_t>::max() - 1};
  batch.lse = true;
  batch.stage = Stage::kAttentionWeights;
  const CoreAnswer together = RunCore(batch);
  for (int64_t item = 0; item < 3; ++item) {
    LayerCase alone = SelectItems(batch, {item});
    alone.problem.dropout->seed += static_cast<uint64_t>(item);  // wraps
    const CoreAnswer answer = RunCore(alone);
    ExpectSameBits("output", answer.output, Select(together.output, 0, {item}));
    ExpectSameBits("matrix", answer.matrix, Select(together.matrix, 0, {item}));
  }
}

INSTANTIATE_TEST_SUITE_P(Metamorphic, MetamorphicTest,
                         ::testing::Values(Dtype::kFloat32, Dtype::kFloat64),
                         NameOf);

}  // namespace
}  // namespace attention::core
