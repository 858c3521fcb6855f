// What a caller may ask to see: stages, mean, top_k, lse; and dropout, which
// shows in them.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "tests/core/attention_call.h"

namespace attention::core {
namespace {

using ::testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(AttentionOutputsTest, EachStageShowsItsOwnStepOfTheComputation) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 3);
  call.options.softmax_scale = 3;
  call.options.softcap = 1.5;
  call.options.causal = true;
  call.options.alignment = Alignment::kTopLeft;
  call.options.key_lengths = {2};
  call.bias = {{1, 1, 1, 3}, {0.25f, -0.5f, 7}};
  const auto shown = [&call](Stage stage) {
    call.stage = stage;
    EXPECT_TRUE(call.Compute().ok());
    return call.matrix;
  };
  const auto scores = shown(Stage::kScores);
  const auto softcapped = shown(Stage::kSoftcapped);
  const auto biased = shown(Stage::kBiased);
  const auto weights = shown(Stage::kAttentionWeights);
  for (int64_t i = 0; i < 2; ++i) {
    for (int64_t j = 0; j < 2; ++j) {
      double dot = 0;
      for (int64_t c = 0; c < 4; ++c) {
        dot += 3.0 * call.query.at(0, 0, i, c) * call.key.at(0, 0, j, c);
      }
      // gamma_(4 + 1) * 3 * 4 for elements within 1, then 3 roundings more.
      const double bound = 5 * 0x1p-24 * 12;
      EXPECT_NEAR(scores.at(0, 0, i, j), dot, bound);
      EXPECT_NEAR(softcapped.at(0, 0, i, j), 1.5 * std::tanh(dot / 1.5),
                  bound + 4 * 0x1p-24 * 1.5);
      if (j <= i) {
        EXPECT_EQ(biased.at(0, 0, i, j),
                  softcapped.at(0, 0, i, j) +
                      call.bias.elements[static_cast<size_t>(j)]);
        EXPECT_GT(weights.at(0, 0, i, j), 0.0f);
      } else {
        EXPECT_EQ(biased.at(0, 0, i, j), -kInfinity);
        EXPECT_EQ(weights.at(0, 0, i, j), 0.0f);
      }
    }
    // Beyond key_lengths there is no score to show.
    EXPECT_EQ(scores.at(0, 0, i, 2), -kInfinity);
    EXPECT_EQ(softcapped.at(0, 0, i, 2), -kInfinity);
    EXPECT_EQ(biased.at(0, 0, i, 2), -kInfinity);
    EXPECT_EQ(weights.at(0, 0, i, 2), 0.0f);
  }
}

TEST(AttentionOutputsTest, MeanDividesTheSumOverHeadsByTheirNumber) {
  AttentionCall<float> call = SimpleCall(2, 4, 3, 5);
  ASSERT_TRUE(call.Compute().ok());
  const auto per_head = call.matrix;
  call.mean = true;
  ASSERT_TRUE(call.Compute().ok());
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < 5; ++j) {
        float sum = 0;
        for (int64_t h = 0; h < 4; ++h) sum += per_head.at(b, h, i, j);
        EXPECT_EQ(call.matrix.at(b, 0, i, j), sum / 4);
      }
    }
  }
  call.stage = Stage::kScores;
  EXPECT_EQ(ErrorField(call.Compute()), "attention_matrix.heads");
}

TEST(AttentionOutputsTest, TopKOrdersByWeightAndBreaksTiesByIndex) {
  AttentionCall<float> call = SimpleCall(1, 1, 1, 5);
  call.options.softmax_scale = 0;
  call.bias = {{1, 1, 1, 5}, {1, 2, 1, 2, -kInfinity}};
  call.top_k = 3;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(call.top_k_indices.elements, ElementsAre(1, 3, 0));
  EXPECT_EQ(call.top_k_weights.elements[0], call.matrix.elements[1]);
  EXPECT_EQ(call.top_k_weights.elements[2], call.matrix.elements[0]);
}

TEST(AttentionOutputsTest, TopKBeyondTheAttendedKeysIsMinusOneAndZero) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 4);
  call.attend_mask = {{1, 1, 2, 4}, {0, 1, 0, 1, 0, 0, 0, 0}};
  call.top_k = 3;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_EQ(call.top_k_indices.at(0, 0, 0, 2), -1);
  EXPECT_EQ(call.top_k_weights.at(0, 0, 0, 2), 0.0f);
  for (int64_t slot = 0; slot < 3; ++slot) {
    EXPECT_EQ(call.top_k_indices.at(0, 0, 1, slot), -1);
    EXPECT_EQ(call.top_k_weights.at(0, 0, 1, slot), 0.0f);
  }
}

TEST(AttentionOutputsTest, TopKCountsKeysFromTheFirstEvenBehindAWindow) {
  AttentionCall<float> call = SimpleCall(1, 1, 6, 6);
  call.options.causal = true;
  call.options.window_left = 1;
  call.top_k = 1;
  // Past the query tile no row sees key 0, whose scores are then left out.
  call.options.query_offsets = {3};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(2, 3));
  EXPECT_GE(call.top_k_indices.at(0, 0, 0, 0), 2);
}

TEST(AttentionOutputsTest, DropoutZeroesAndRescalesWhatIsLeft) {
  AttentionCall<float> call = SimpleCall(1, 2, 8, 16);
  ASSERT_TRUE(call.Compute().ok());
  const auto whole = call.matrix;
  const auto lse = call.lse;
  call.options.dropout = Dropout{0.5, 123};
  ASSERT_TRUE(call.Compute().ok());
  int dropped = 0;
  for (size_t i = 0; i < whole.elements.size(); ++i) {
    if (call.matrix.elements[i] == 0) {
      ++dropped;
    } else {
      EXPECT_EQ(call.matrix.elements[i], whole.elements[i] * 2);
    }
  }
  EXPECT_GT(dropped, 0);
  EXPECT_LT(dropped, static_cast<int>(whole.elements.size()));
  EXPECT_EQ(call.lse.elements, lse.elements) << "lse is before dropout";
}

TEST(AttentionOutputsTest, ItemsOfABatchDrawFromTheirOwnSeed) {
  AttentionCall<float> batch = SimpleCall(3, 2, 4, 6);
  batch.options.dropout = Dropout{0.4, ~uint64_t{0} - 1};
  ASSERT_TRUE(batch.Compute().ok());
  for (int64_t b = 0; b < 3; ++b) {
    AttentionCall<float> alone = SimpleCall(1, 2, 4, 6);
    const auto item = [b](const Owned<float>& all, Owned<float>& one) {
      const auto size = static_cast<std::ptrdiff_t>(one.elements.size());
      std::copy_n(all.elements.begin() + b * size, size, one.elements.begin());
    };
    item(batch.query, alone.query);
    item(batch.key, alone.key);
    item(batch.value, alone.value);
    alone.options.dropout =
        Dropout{0.4, ~uint64_t{0} - 1 + static_cast<uint64_t>(b)};
    ASSERT_TRUE(alone.Compute().ok());
    Owned<float> expected({1, 2, 4, 6});
    item(batch.matrix, expected);
    EXPECT_EQ(alone.matrix.elements, expected.elements);
  }
}

}  // namespace
}  // namespace attention::core
