// Changes of the inputs whose effect on the answer is known.
#include <cmath>
#include <limits>
#include <numeric>

#include "tests/layer_cases/metamorphic.h"

namespace attention::core {
namespace {

using reference::Alignment;
using reference::Input;
using reference::Problem;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST_P(MetamorphicTest, KeysAndValuesPermutedTogetherChangeNothing) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase original = SmallCase(GetParam(), seed);
    Problem& problem = original.problem;
    problem.softcap = 5;
    problem.bias =
        OrdinaryNumbers(GetParam(), seed + 1000, MatrixShape(problem));
    Dice dice(seed);
    problem.attend_mask = MaskWhere(
        MatrixShape(problem),
        [&](int64_t, int64_t, int64_t, int64_t) { return dice.Chance(0.8); });
    const std::vector<int64_t> order = Shuffled(problem.kv_len(), seed);
    const Computed straight(original);
    Computed permuted(SelectKeys(original, order));
    // Back to the original order of keys, to be compared.
    std::vector<int64_t> inverse(order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      inverse[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
    }
    if (original.stage) {
      permuted.answer.matrix = Select(permuted.answer.matrix, 3, inverse);
      permuted.bounds.attention_weights =
          Select(permuted.bounds.attention_weights, 3, inverse);
    }
    ExpectClose(permuted, straight);
  }
}

TEST_P(MetamorphicTest, QueriesPermutedPermuteTheOutput) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase original = SmallCase(GetParam(), seed);
    const std::vector<int64_t> order =
        Shuffled(original.problem.query_len(), seed);
    LayerCase permuted = original;
    permuted.problem.query = Select(permuted.problem.query, 2, order);
    const Computed straight(original);
    const Computed after(permuted);
    ExpectClose("output", after.answer.output, after.bounds.output,
                Select(straight.answer.output, 2, order),
                Select(straight.bounds.output, 2, order));
    ExpectClose("lse", after.answer.lse, after.bounds.lse,
                Select(straight.answer.lse, 2, order),
                Select(straight.bounds.lse, 2, order));
  }
}

TEST_P(MetamorphicTest, AConstantAddedToAllScoresMovesTheLseAlone) {
  constexpr double kConstant = 3.5;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Computed plain(SmallCase(GetParam(), seed));
    LayerCase raised = plain.given;
    raised.problem.bias =
        reference::MakeTensor<double>({1, 1, 1, 1}, kConstant);
    Computed after(raised);
    for (double& lse : after.answer.lse.elements) lse -= kConstant;
    ExpectClose(after, plain);
  }
}

TEST_P(MetamorphicTest, CausalAndWindowsEqualTheirExplicitMasks) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Dice dice(seed);
    LayerCase positional = SmallCase(GetParam(), seed);
    Problem& problem = positional.problem;
    problem.causal = dice.Chance(0.5);
    const int64_t left = dice.Between(0, problem.kv_len());
    const int64_t right = dice.Between(0, problem.kv_len());
    problem.window_left = left;
    problem.window_right = right;
    for (int64_t item = 0; item < problem.batch(); ++item) {
      problem.query_offsets.push_back(dice.Between(-5, problem.kv_len()));
    }
    const Input mask =
        MaskWhere(MatrixShape(problem),
                  [&](int64_t item, int64_t, int64_t row, int64_t key) {
                    const int64_t position =
                        row + problem.query_offsets[static_cast<size_t>(item)];
                    return (!problem.causal || key <= position) &&
                           key >= position - left && key <= position + right;
                  });
    Input bias = mask;
    for (double& element : bias.elements) {
      element = element == 1 ? 0 : -kInfinity;
    }
    LayerCase masked = SmallCase(GetParam(), seed);
    masked.problem.attend_mask = mask;
    LayerCase biased = SmallCase(GetParam(), seed);
    biased.problem.bias = bias;
    const Computed by_mask(masked);
    ExpectClose(Computed(positional), by_mask);
    // The same scores, of which the same are left out.
    ExpectSameBits(RunCore(biased), by_mask.answer);
  }
}

TEST_P(MetamorphicTest, CausalIsAWindowWithNothingToTheRight) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase causal = SmallCase(GetParam(), seed);
    causal.problem.causal = true;
    causal.problem.alignment = Alignment::kBottomRight;
    LayerCase window = causal;
    window.problem.causal = false;
    window.problem.window_right = 0;
    ExpectSameBits(RunCore(window), RunCore(causal));
  }
}

TEST_P(MetamorphicTest, OffsetsSayWhatAlignmentsSay) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Dice dice(seed);
    LayerCase aligned = SmallCase(GetParam(), seed);
    Problem& problem = aligned.problem;
    problem.causal = true;
    problem.window_left = 3;
    for (int64_t item = 0; item < problem.batch(); ++item) {
      problem.key_lengths.push_back(dice.Between(0, problem.kv_len()));
    }
    LayerCase offset = aligned;
    offset.problem.query_offsets.assign(static_cast<size_t>(problem.batch()),
                                        0);
    problem.alignment = Alignment::kTopLeft;
    ExpectSameBits(RunCore(offset), RunCore(aligned));

    offset.problem.query_offsets.clear();
    for (const int64_t length : problem.key_lengths) {
      offset.problem.query_offsets.push_back(length - problem.query_len());
    }
    problem.alignment = Alignment::kBottomRight;
    ExpectSameBits(RunCore(offset), RunCore(aligned));
  }
}

TEST_P(MetamorphicTest, KeyLengthsEqualTruncation) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase whole = SelectItems(SmallCase(GetParam(), seed), {0});
    whole.stage.reset();  // its shape would differ
    whole.problem.causal = true;
    whole.problem.alignment = Alignment::kBottomRight;
    const int64_t length = whole.problem.kv_len() / 2;
    const LayerCase truncated = SelectKeys(whole, FirstIndices(length));
    whole.problem.key_lengths = {length};
    ExpectClose(Computed(whole), Computed(truncated));
  }
}

// The first `rows` rows of the only item.
LayerCase TruncatedItem(const LayerCase& padded, int64_t item, int64_t rows) {
  LayerCase result = SelectItems(padded, {item});
  result.problem.key_lengths.clear();
  result = SelectKeys(result, FirstIndices(rows));
  result.problem.query = Select(result.problem.query, 2, FirstIndices(rows));
  return result;
}

TEST_P(MetamorphicTest, RightPaddedTopLeftEqualsEachItemTruncated) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    PlainSizes sizes = {3, 2, 1, 12, 12, 8, 5};
    LayerCase padded = PlainCase(GetParam(), seed, sizes);
    padded.lse = true;
    padded.problem.causal = true;
    padded.problem.key_lengths = {4, 12, 7};
    padded.problem.alignment = Alignment::kTopLeft;
    LayerCase bottom = padded;
    bottom.problem.alignment = Alignment::kBottomRight;
    const Computed top_left(padded);
    const Computed bottom_right(bottom);
    for (int64_t item = 0; item < sizes.batch; ++item) {
      const int64_t length = padded.problem.valid_kv_len(item);
      const Computed truncated(TruncatedItem(padded, item, length));
      const auto valid_rows = [&](const auto& tensor) {
        return Select(Select(tensor, 0, {item}), 2, FirstIndices(length));
      };
      ExpectClose("output", valid_rows(top_left.answer.output),
                  valid_rows(top_left.bounds.output), truncated.answer.output,
                  truncated.bounds.output);
      ExpectClose("lse", valid_rows(top_left.answer.lse),
                  valid_rows(top_left.bounds.lse), truncated.answer.lse,
                  truncated.bounds.lse);
      const bool padded_at_all = length < sizes.kv_len;
      EXPECT_EQ(CompareClose("output", valid_rows(bottom_right.answer.output),
                             valid_rows(bottom_right.bounds.output),
                             truncated.answer.output, truncated.bounds.output)
                    .ok,
                !padded_at_all)
          << "BOTTOM_RIGHT is for queries at the end of the keys";
    }
  }
}

TEST_P(MetamorphicTest, GroupedHeadsEqualRepeatedHeads) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase grouped = SmallCase(GetParam(), seed);
    LayerCase repeated = grouped;
    Problem& problem = repeated.problem;
    const int64_t group = problem.num_heads / problem.num_kv_heads;
    std::vector<int64_t> heads;
    heads.reserve(static_cast<size_t>(problem.num_heads));
    for (int64_t head = 0; head < problem.num_heads; ++head) {
      heads.push_back(head / group);
    }
    problem.num_kv_heads = problem.num_heads;
    problem.key = Select(problem.key, 1, heads);
    problem.value = Select(problem.value, 1, heads);
    const Computed by_group(grouped);
    const Computed by_head(repeated);
    ExpectClose(by_group, by_head);
    // Rows of the heads of a group are stacked unless the whole matrix is
    // wanted: then each head is the same computation.
    if (grouped.stage) ExpectSameBits(by_group.answer, by_head.answer);
  }
}

TEST_P(MetamorphicTest, ValuesTimesAPowerOfTwoScaleTheOutputToTheBit) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const LayerCase original = SmallCase(GetParam(), seed);
    LayerCase scaled = original;
    for (double& element : scaled.problem.value.elements) element *= -8;
    CoreAnswer expected = RunCore(original);
    for (double& element : expected.output.elements) element *= -8;
    ExpectSameBits(RunCore(scaled), expected);
  }
}

TEST_P(MetamorphicTest, TheScaleMayAsWellBeInTheQuery) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase original = SmallCase(GetParam(), seed);
    original.problem.softmax_scale = 0.5;
    LayerCase moved = original;
    moved.problem.softmax_scale = 1;
    for (double& element : moved.problem.query.elements) element *= 0.5;
    ExpectSameBits(RunCore(moved), RunCore(original));
  }
}

TEST_P(MetamorphicTest, WhatLiesBeyondKeyLengthsChangesNoBit) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    Dice dice(seed);
    LayerCase finite = SmallCase(GetParam(), seed);
    Problem& problem = finite.problem;
    for (int64_t item = 0; item < problem.batch(); ++item) {
      problem.key_lengths.push_back(dice.Between(0, problem.kv_len()));
    }
    LayerCase spoilt = finite;
    const double spoil[] = {std::numeric_limits<double>::quiet_NaN(),
                            kInfinity};
    for (Input* tensor : {&spoilt.problem.key, &spoilt.problem.value}) {
      const Input beyond = MaskWhere(
          tensor->shape, [&](int64_t item, int64_t, int64_t row, int64_t) {
            return row >= problem.valid_kv_len(item);
          });
      for (size_t i = 0; i < beyond.elements.size(); ++i) {
        if (beyond.elements[i] == 1) tensor->elements[i] = spoil[i % 2];
      }
    }
    ExpectSameBits(RunCore(spoilt), RunCore(finite));
  }
}

reference::Projection IdentityProjection(int64_t width, bool out_in) {
  reference::Projection projection = {width, width, out_in, {}, {}};
  projection.weight.assign(static_cast<size_t>(width * width), 0);
  for (int64_t i = 0; i < width; ++i) {
    projection.weight[static_cast<size_t>(i * width + i)] = 1;
  }
  return projection;
}

TEST_P(MetamorphicTest, IdentityProjectionsChangeNoBit) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    LayerCase plain = SmallCase(GetParam(), seed);
    plain.problem.num_heads = plain.problem.num_kv_heads = 1;
    plain.problem.query = Select(plain.problem.query, 1, {0});
    plain.problem.key = Select(plain.problem.key, 1, {0});
    plain.problem.value = Select(plain.problem.value, 1, {0});
    LayerCase projected = plain;
    const bool out_in = seed % 3 == 0;
    const int64_t head_dim = plain.problem.head_dim();
    const int64_t value_dim = plain.problem.value_dim();
    projected.problem.weights =
        reference::Weights{IdentityProjection(head_dim, out_in),
                           IdentityProjection(head_dim, out_in),
                           IdentityProjection(value_dim, out_in),
                           IdentityProjection(value_dim, !out_in)};
    ExpectSameBits(RunCore(projected), RunCore(plain));
  }
}

TEST_P(MetamorphicTest, TransposedWeightsInTheOtherLayoutAreTheSameWeights) {
  for (uint64_t seed = 1; seed < 200; ++seed) {
    const LayerCase original = RandomLayerCase(GetParam(), seed);
    if (!original.problem.weights || original.stage || original.top_k ||
        !original.lse) {
      continue;
    }
    LayerCase transposed = original;
    reference::Weights& weights = *transposed.problem.weights;
    for (reference::Projection* p :
         {&weights.query, &weights.key, &weights.value}) {
      const reference::Projection from = *p;
      p->out_in = !from.out_in;
      const int64_t rows = from.out_in ? from.out : from.in;
      const int64_t columns = from.out_in ? from.in : from.out;
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t j = 0; j < columns; ++j) {
          p->weight[static_cast<size_t>(j * rows + i)] =
              from.weight[static_cast<size_t>(i * columns + j)];
        }
      }
    }
    ExpectClose(Computed(transposed), Computed(original));
  }
}

// The tensor with two axes of one size exchanged.
Input Exchanged(const Input& tensor, size_t a, size_t b) {
  Input result = tensor;
  const reference::Shape& shape = tensor.shape;
  for (int64_t i = 0; i < reference::ElementCount(shape); ++i) {
    reference::Shape at{};
    int64_t rest = i;
    for (size_t axis = 4; axis-- > 0;) {
      at[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    std::swap(at[a], at[b]);
    result.elements[static_cast<size_t>(i)] =
        tensor.At(at[0], at[1], at[2], at[3]);
  }
  return result;
}

// Every axis has the same size, so that no shape can tell one from another; all
// that depends on an axis differs along it.
LayerCase CaseOfEqualAxes(Dtype dtype, uint64_t seed) {
  constexpr int64_t kSize = 4;
  LayerCase given =
      PlainCase(dtype, seed, {kSize, kSize, kSize, kSize, kSize, kSize, kSize});
  Problem& problem = given.problem;
  given.lse = true;
  given.stage = Stage::kAttentionWeights;
  problem.bias = OrdinaryNumbers(dtype, seed + 99, MatrixShape(problem));
  Dice dice(seed);
  problem.attend_mask = MaskWhere(
      MatrixShape(problem),
      [&](int64_t, int64_t, int64_t, int64_t) { return dice.Chance(0.7); });
  problem.key_lengths = {4, 3, 4, 2};
  problem.causal = true;
  problem.query_offsets = {3, 0, 1, 2};
  return given;
}

TEST_P(MetamorphicTest, NoAxisStandsForAnother) {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const Computed straight(CaseOfEqualAxes(GetParam(), seed));
    const reference::Answer& bounds = straight.bounds;
    EXPECT_TRUE(Compare("output", straight.answer.output, bounds.output).ok);
    EXPECT_TRUE(
        Compare("weights", straight.answer.matrix, bounds.attention_weights)
            .ok);
    EXPECT_TRUE(Compare("lse", straight.answer.lse, bounds.lse).ok);

    // And a computation that takes one axis for another would show.
    for (size_t a = 0; a < 4; ++a) {
      for (size_t b = a + 1; b < 4; ++b) {
        LayerCase confused = straight.given;
        confused.problem.bias = Exchanged(*straight.given.problem.bias, a, b);
        const CoreAnswer answer = RunCore(confused);
        EXPECT_FALSE(Compare("output", answer.output, bounds.output).ok)
            << "axes " << a << " and " << b;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Metamorphic, MetamorphicTest,
                         ::testing::Values(Dtype::kFloat32, Dtype::kFloat64),
                         NameOf);

}  // namespace
}  // namespace attention::core
