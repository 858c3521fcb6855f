// The tiled way against the whole-row way, where tiles begin and end and where
// numbers leave the range of float. Agreement with the reference over all
// options is in property_test.cc.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/core/attention_call.h"

namespace attention::core {
namespace {

using ::testing::Each;

constexpr float kMax = std::numeric_limits<float>::max();

// Output and lse when nothing else is asked for, which is the tiled way.
template <typename T>
absl::Status ComputeTiled(AttentionCall<T>& call) {
  AttentionOutputs<T> outputs = call.outputs();
  outputs.matrix = {};
  return Attention(call.inputs(), call.options, outputs);
}

// Both ways keep within their error of real arithmetic. Elements lie in [-1,
// 1], so a score of n products is off by (n + 2) n u scale at most; the weights
// by twice that and (kv_len + 8) u relative; and the output, a mean of values
// in
// [-1, 1], likewise. Two ways: twice.
template <typename T>
double Bound(const AttentionCall<T>& call) {
  const auto width = static_cast<double>(call.query.shape[kColumn]);
  const auto keys = static_cast<double>(call.key.shape[kRow]);
  const double roundoff = std::numeric_limits<T>::epsilon() / 2;
  const double score_error = (width + 2) * width / std::sqrt(width);
  return 2 * (2 * score_error + keys + 8) * roundoff;
}

template <typename T>
void ExpectBothWaysAgree(AttentionCall<T> call) {
  ASSERT_TRUE(call.Compute().ok());
  const auto output = call.output;
  const auto lse = call.lse;
  ASSERT_TRUE(ComputeTiled(call).ok());
  const double bound = Bound(call);
  for (size_t i = 0; i < output.elements.size(); ++i) {
    ASSERT_NEAR(output.elements[i], call.output.elements[i], bound) << i;
  }
  for (size_t i = 0; i < lse.elements.size(); ++i) {
    // lse itself lies within ln(kv_len) + max|score|, far below 32.
    if (lse.elements[i] == call.lse.elements[i]) continue;  // both -inf, too
    ASSERT_NEAR(lse.elements[i], call.lse.elements[i], 32 * bound) << i;
  }
}

TEST(TiledAttentionTest, AgreesAroundTheEdgesOfTiles) {
  for (const int64_t query_len : {1, 255, 256, 257}) {
    for (const int64_t kv_len : {1, 15, 16, 17, 511, 512, 513, 1025}) {
      for (const bool causal : {false, true}) {
        auto call =
            AttentionCall<float>::Random({1, 1, query_len, 5}, 1, kv_len, 3);
        call.options.causal = causal;
        call.options.alignment = Alignment::kBottomRight;
        ExpectBothWaysAgree(call);
      }
    }
  }
}

// The first and the last row of a strip see nothing; those between do.
TEST(TiledAttentionTest, AgreesWhereAStripSeesSomethingOnlyInItsMiddle) {
  auto call = AttentionCall<float>::Random({1, 1, 40, 4}, 1, 9, 3);
  call.options.query_offsets = {-3};
  call.options.key_lengths = {5};
  call.options.window_left = 2;
  call.options.window_right = 0;
  ExpectBothWaysAgree(call);
}

TEST(TiledAttentionTest, AgreesForEveryGroupingOfHeads) {
  for (const int64_t kv_heads : {1, 2, 3, 6}) {
    auto call = AttentionCall<double>::Random({2, 6, 100, 4}, kv_heads, 530, 7);
    call.options.causal = true;
    call.options.alignment = Alignment::kBottomRight;
    call.options.key_lengths = {530, 40};
    ExpectBothWaysAgree(call);
  }
  // More heads in a group than rows in a tile.
  ExpectBothWaysAgree(AttentionCall<float>::Random({1, 300, 3, 2}, 1, 9, 2));
}

TEST(TiledAttentionTest, AgreesWhereMaskAndBiasEmptyWholeTiles) {
  auto call = AttentionCall<float>::Random({1, 2, 6, 4}, 2, 1200, 3);
  call.attend_mask = Owned<uint8_t>({1, 1, 6, 1200}, 1);
  call.bias = Owned<float>({1, 1, 1, 1200});
  for (int64_t j = 0; j < 520; ++j) call.attend_mask.at(0, 0, 2, j) = 0;
  for (int64_t j = 0; j < 1200; ++j) call.attend_mask.at(0, 0, 3, j) = 0;
  for (int64_t j = 600; j < 1200; ++j) {
    call.bias.at(0, 0, 0, j) = -std::numeric_limits<float>::infinity();
  }
  ExpectBothWaysAgree(call);
  ASSERT_TRUE(ComputeTiled(call).ok());
  for (int64_t c = 0; c < 3; ++c) EXPECT_EQ(call.output.at(0, 1, 3, c), 0.0f);
}

TEST(TiledAttentionTest, AMaximumThatKeepsRisingIsRescaledEveryTime) {
  auto call = AttentionCall<float>::Random({1, 1, 2, 4}, 1, 3000, 2);
  call.bias = Owned<float>({1, 1, 1, 3000});
  for (int64_t j = 0; j < 3000; ++j) {
    call.bias.at(0, 0, 0, j) = static_cast<float>(j) / 100;
  }
  // Scores up to 30 + 2 more: their rounding counts, too.
  ASSERT_TRUE(call.Compute().ok());
  const auto output = call.output;
  ASSERT_TRUE(ComputeTiled(call).ok());
  for (size_t i = 0; i < output.elements.size(); ++i) {
    EXPECT_NEAR(output.elements[i], call.output.elements[i],
                Bound(call) + 2 * 2 * 32 * 0x1p-24);
  }
}

TEST(TiledAttentionTest, ValuesNearTheLargestFloatDoNotOverflowOnTheWay) {
  // The sum of a thousand of them does, their mean does not.
  auto call = AttentionCall<float>::Random({1, 1, 1, 4}, 1, 1000, 2);
  call.options.softmax_scale = 0;
  call.value = Owned<float>({1, 1, 1000, 2}, kMax / 2);
  ASSERT_TRUE(ComputeTiled(call).ok());
  for (const float element : call.output.elements) {
    EXPECT_NEAR(element / (kMax / 2), 1, 1010 * 0x1p-24);
  }
}

TEST(TiledAttentionTest, WhatOverflowsIsNamedAsInWholeRows) {
  auto call = AttentionCall<float>::Random({1, 2, 3, 4}, 1, 700, 2);
  call.query.at(0, 1, 2, 0) = 1e30f;
  call.key.at(0, 0, 600, 0) = 1e30f;
  const absl::Status whole = call.Compute();
  EXPECT_FALSE(whole.ok());
  EXPECT_EQ(ComputeTiled(call), whole);
  // Where it is excluded it does not matter.
  call.attend_mask = Owned<uint8_t>({1, 1, 1, 700}, 1);
  call.attend_mask.at(0, 0, 0, 600) = 0;
  EXPECT_TRUE(ComputeTiled(call).ok());
}

TEST(TiledAttentionTest, ABiasOfLowestFiniteFloatsIsLive) {
  auto call = AttentionCall<float>::Random({1, 1, 1, 4}, 1, 4, 2);
  call.bias = Owned<float>({1, 1, 1, 1}, -kMax);
  call.value = Owned<float>({1, 1, 4, 2}, 1.0f);
  ASSERT_TRUE(ComputeTiled(call).ok());
  EXPECT_THAT(call.output.elements, Each(1.0f));
}

}  // namespace
}  // namespace attention::core
