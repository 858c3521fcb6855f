// The edges of attention, one claim each: masks, bias, overflow, scale, heads.
// Positions are in attention_positions_test.cc, what a caller may ask to see in
// attention_outputs_test.cc; agreement with an independent reference over all
// options together in property_test.cc.
#include "server/core/attention/attention.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "tests/core/attention_call.h"

namespace attention::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kLowest = std::numeric_limits<float>::lowest();

TEST(AttentionTest, ReplaysTheChaptersFirstExample) {
  // "Your journey starts with one step", without trainable weights.
  AttentionCall<float> call;
  call.query = {
      {1, 1, 6, 3},
      {0.43f, 0.15f, 0.89f, 0.55f, 0.87f, 0.66f, 0.57f, 0.85f, 0.64f, 0.22f,
       0.58f, 0.33f, 0.77f, 0.25f, 0.10f, 0.05f, 0.80f, 0.55f}};
  call.key = call.value = call.query;
  call.options.softmax_scale = 1;
  ASSERT_TRUE(call.Compute().ok());
  // The chapter prints four digits: half a unit of the fourth.
  const std::vector<double> weights = {0.1385, 0.2379, 0.2333,
                                       0.1240, 0.1082, 0.1581};
  for (int64_t j = 0; j < 6; ++j) {
    EXPECT_NEAR(call.matrix.at(0, 0, 1, j), weights[static_cast<size_t>(j)],
                0.5e-4);
  }
  EXPECT_NEAR(call.output.at(0, 0, 1, 0), 0.4419, 0.5e-4);
  EXPECT_NEAR(call.output.at(0, 0, 1, 1), 0.6515, 0.5e-4);
  EXPECT_NEAR(call.output.at(0, 0, 1, 2), 0.5683, 0.5e-4);
}

TEST(AttentionTest, AttendMaskTrueMeansAttend) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 3);
  call.attend_mask = {{1, 1, 2, 3}, {1, 0, 1, 0, 1, 0}};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0, 2));
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(1));
}

TEST(AttentionTest, MasksAndBiasBroadcastOverEveryAxis) {
  // All four axes have one size, so that only the right stride gives the right
  // answer.
  for (size_t axis = 0; axis < 4; ++axis) {
    AttentionCall<float> call =
        AttentionCall<float>::Random({3, 3, 3, 2}, 3, 3, 2);
    Shape4 shape = {1, 1, 1, 1};
    shape[axis] = 3;
    call.attend_mask = {shape, {1, 0, 1}};
    call.bias = {shape, {0.5f, 0.0f, -kInfinity}};
    ASSERT_TRUE(call.Compute().ok());
    for (int64_t b = 0; b < 3; ++b) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t i = 0; i < 3; ++i) {
          for (int64_t j = 0; j < 3; ++j) {
            const int64_t at[] = {b, h, i, j};
            EXPECT_EQ(call.matrix.at(b, h, i, j) != 0, at[axis] == 0)
                << "axis " << axis << " at " << b << h << i << j;
          }
        }
      }
    }
  }
}

TEST(AttentionTest, MinusInfinityInBiasExcludesExactlyLikeFalse) {
  AttentionCall<float> masked = SimpleCall(2, 2, 3, 5);
  masked.attend_mask = Owned<uint8_t>(masked.scores(), 1);
  AttentionCall<float> biased = masked;
  biased.attend_mask = {};
  biased.bias = Owned<float>(biased.scores());
  for (size_t i = 0; i < masked.attend_mask.elements.size(); i += 3) {
    masked.attend_mask.elements[i] = 0;
    biased.bias.elements[i] = -kInfinity;
  }
  ASSERT_TRUE(masked.Compute().ok());
  ASSERT_TRUE(biased.Compute().ok());
  EXPECT_EQ(masked.output.elements, biased.output.elements);
  EXPECT_EQ(masked.matrix.elements, biased.matrix.elements);
}

TEST(AttentionTest, ABiasOfLowestFiniteFloatsIsLive) {
  AttentionCall<float> call = SimpleCall(1, 1, 1, 4);
  call.bias = Owned<float>({1, 1, 1, 4}, kLowest);
  ASSERT_TRUE(call.Compute().ok());
  // Every score is absorbed, so all four are equal.
  EXPECT_THAT(call.matrix.elements, Each(0.25f));
  call.bias.elements[2] = 0;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(call.matrix.elements, ElementsAre(0, 0, 1, 0));
}

TEST(AttentionTest, AFullyExcludedRowIsZeroHoweverItIsExcluded) {
  const auto expect_dead = [](AttentionCall<float> call) {
    ASSERT_TRUE(call.Compute().ok());
    EXPECT_THAT(call.output.elements, Each(0.0f));
    EXPECT_THAT(call.matrix.elements, Each(0.0f));
    EXPECT_THAT(call.lse.elements, Each(-kInfinity));
  };
  AttentionCall<float> call = SimpleCall(1, 1, 1, 3);
  call.attend_mask = Owned<uint8_t>({1, 1, 1, 1}, 0);
  call.attend_mask.elements = {0};
  expect_dead(call);
  call = SimpleCall(1, 1, 1, 3);
  call.bias = Owned<float>({1, 1, 1, 1}, -kInfinity);
  expect_dead(call);
  call = SimpleCall(1, 1, 1, 3);
  call.options.key_lengths = {0};
  expect_dead(call);
  call = SimpleCall(1, 1, 1, 3);
  call.options.causal = true;
  call.options.query_offsets = {-1};
  expect_dead(call);
  expect_dead(SimpleCall(1, 1, 2, 0));
}

TEST(AttentionTest, EmptyBatchAndEmptyQueryAreOk) {
  EXPECT_TRUE(SimpleCall(0, 2, 3, 4).Compute().ok());
  EXPECT_TRUE(SimpleCall(2, 2, 0, 4).Compute().ok());
}

TEST(AttentionTest, ScoresThatOverflowAreAnErrorNamingTheirPlace) {
  AttentionCall<float> call = SimpleCall(1, 2, 2, 3);
  call.query.at(0, 1, 1, 0) = 1e30f;
  call.key.at(0, 1, 2, 0) = -1e30f;
  const absl::Status status = call.Compute();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("scores[batch 0, head 1, row 1, key 2]"));
  // The same place excluded is not read into the result.
  call.attend_mask = Owned<uint8_t>(call.scores(), 1);
  call.attend_mask.at(0, 1, 1, 2) = 0;
  EXPECT_TRUE(call.Compute().ok());
}

TEST(AttentionTest, BiasThatOverflowsALiveRowIsAnErrorNeverZeros) {
  AttentionCall<float> call = SimpleCall(1, 1, 1, 2);
  call.query.elements = {1e18f, 0, 0, 0};
  call.key.elements = {-1e18f, 0, 0, 0, -1e18f, 0, 0, 0};
  call.bias = Owned<float>({1, 1, 1, 1}, kLowest);
  const absl::Status status = call.Compute();
  EXPECT_EQ(ErrorField(status), "bias");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("lse[batch 0, head 0, row 0]"));
}

TEST(AttentionTest, QueryHeadsShareTheKeyValueHeadOfTheirGroup) {
  AttentionCall<float> grouped =
      AttentionCall<float>::Random({2, 6, 3, 4}, 2, 5, 3);
  AttentionCall<float> repeated =
      AttentionCall<float>::Random({2, 6, 3, 4}, 6, 5, 3);
  for (int64_t b = 0; b < 2; ++b) {
    for (int64_t h = 0; h < 6; ++h) {
      for (int64_t j = 0; j < 5; ++j) {
        for (int64_t c = 0; c < 4; ++c) {
          repeated.key.at(b, h, j, c) = grouped.key.at(b, h / 3, j, c);
          if (c < 3) {
            repeated.value.at(b, h, j, c) = grouped.value.at(b, h / 3, j, c);
          }
        }
      }
    }
  }
  ASSERT_TRUE(grouped.Compute().ok());
  ASSERT_TRUE(repeated.Compute().ok());
  EXPECT_EQ(grouped.output.elements, repeated.output.elements);
}

TEST(AttentionTest, TheScaleComesFromHeadDimNotValueDim) {
  AttentionCall<float> call =
      AttentionCall<float>::Random({1, 1, 2, 4}, 1, 3, 9);
  ASSERT_TRUE(call.Compute().ok());
  const std::vector<float> implicit = call.output.elements;
  call.options.softmax_scale = 0.5;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_EQ(call.output.elements, implicit);
}

TEST(AttentionTest, AScaleOfZeroAttendsEvenly) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 4);
  call.options.softmax_scale = 0;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(call.matrix.elements, Each(0.25f));
}

TEST(AttentionTest, SoftcapComesBeforeBias) {
  AttentionCall<float> call = SimpleCall(1, 1, 1, 2);
  call.options.softcap = 2;
  call.bias = {{1, 1, 1, 2}, {100, 0}};
  call.stage = Stage::kBiased;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_GT(call.matrix.elements[0], 90.0f) << "a bias above softcap survives";
}

TEST(AttentionTest, AnOutputThatOverflowsIsAnError) {
  AttentionCall<float> call = SimpleCall(1, 1, 1, 8);
  call.value = Owned<float>({1, 1, 8, 3}, std::numeric_limits<float>::max());
  call.options.dropout = Dropout{0.9, 4};
  call.options.softmax_scale = 0;
  // Some weight is kept and scaled by 10, beyond the largest float.
  const absl::Status status = call.Compute();
  EXPECT_EQ(ErrorField(status), "value");
}

TEST(AttentionTest, OptionsOutOfRangeAreRefusedByName) {
  const auto refused = [](auto change) {
    AttentionCall<float> call = SimpleCall(2, 2, 3, 4);
    change(call);
    const absl::Status status = call.Compute();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return ErrorField(status);
  };
  using Call = AttentionCall<float>;
  EXPECT_EQ(refused([](Call& c) { c.options.softmax_scale = kInfinity; }),
            "softmax_scale");
  EXPECT_EQ(refused([](Call& c) { c.options.softmax_scale = 1e300; }),
            "softmax_scale");
  EXPECT_EQ(refused([](Call& c) { c.options.softmax_scale = 1e-300; }),
            "softmax_scale");
  EXPECT_EQ(refused([](Call& c) { c.options.softcap = 0; }), "softcap");
  EXPECT_EQ(refused([](Call& c) { c.options.softcap = kNan; }), "softcap");
  EXPECT_EQ(refused([](Call& c) {
              c.options.dropout = Dropout{1.0, 1};
            }),
            "dropout.probability");
  EXPECT_EQ(refused([](Call& c) {
              c.options.dropout = Dropout{kNan, 1};
            }),
            "dropout.probability");
  EXPECT_EQ(refused([](Call& c) { c.options.window_left = -1; }),
            "window_left");
  EXPECT_EQ(refused([](Call& c) { c.options.window_right = -1; }),
            "window_right");
  EXPECT_EQ(refused([](Call& c) { c.options.key_lengths = {1}; }),
            "key_lengths");
  EXPECT_EQ(refused([](Call& c) {
              c.options.key_lengths = {1, 5};
            }),
            "key_lengths[1]");
  EXPECT_EQ(refused([](Call& c) {
              c.options.key_lengths = {-1, 4};
            }),
            "key_lengths[0]");
  EXPECT_EQ(refused([](Call& c) {
              c.options.query_offsets = {0, 0};
            }),
            "query_offsets");
  EXPECT_EQ(refused([](Call& c) {
              c.options.causal = true;
              c.options.query_offsets = {0};
            }),
            "query_offsets");
  EXPECT_EQ(refused([](Call& c) {
              c.options.causal = true;
              c.options.alignment = Alignment::kTopLeft;
              c.options.query_offsets = {0, 0};
            }),
            "query_offsets");
  EXPECT_EQ(refused([](Call& c) { c.key.shape[kColumn] = 2; }), "key");
  EXPECT_EQ(refused([](Call& c) { c.value.shape[kRow] = 3; }), "value");
  EXPECT_EQ(refused([](Call& c) { c.top_k = 5; }), "top_k");
}

}  // namespace
}  // namespace attention::core
