// Which keys a row sees: causal, windows, alignment, offsets, key_lengths.
#include <cmath>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "tests/core/attention_call.h"

namespace attention::core {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(AttentionPositionsTest, CausalSeesItselfAndThePastOnly) {
  AttentionCall<float> call = SimpleCall(1, 1, 4, 4);
  call.options.causal = true;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0));
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(0, 1));
  EXPECT_THAT(SeenKeys(call, 0, 0, 3), ElementsAre(0, 1, 2, 3));
}

TEST(AttentionPositionsTest, TopLeftStandsAtTheRowAndBottomRightAtTheEnd) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 5);
  call.options.causal = true;
  call.options.alignment = Alignment::kTopLeft;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0));
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(0, 1));
  call.options.alignment = Alignment::kBottomRight;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(0, 1, 2, 3, 4));
}

TEST(AttentionPositionsTest, BottomRightFollowsTheKeyLengthsOfEachItem) {
  AttentionCall<float> call = SimpleCall(2, 1, 2, 5);
  call.options.causal = true;
  call.options.alignment = Alignment::kBottomRight;
  call.options.key_lengths = {3, 1};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0, 1));
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(0, 1, 2));
  EXPECT_THAT(SeenKeys(call, 1, 0, 0), ElementsAre());
  EXPECT_THAT(SeenKeys(call, 1, 0, 1), ElementsAre(0));
}

TEST(AttentionPositionsTest,
     QueryOffsetsMayBeNegativeBeyondTheKeysAndDifferPerItem) {
  AttentionCall<float> call = SimpleCall(3, 1, 2, 4);
  call.options.causal = true;
  call.options.query_offsets = {-1, 2, 100};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre());
  EXPECT_THAT(SeenKeys(call, 0, 0, 1), ElementsAre(0));
  EXPECT_THAT(SeenKeys(call, 1, 0, 0), ElementsAre(0, 1, 2));
  EXPECT_THAT(SeenKeys(call, 2, 0, 1), ElementsAre(0, 1, 2, 3));
}

TEST(AttentionPositionsTest, AWindowBeyondTheKeysIsDead) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 4);
  call.options.window_left = 1;
  call.options.query_offsets = {100};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre());
  EXPECT_THAT(call.output.elements, Each(0.0f));
}

TEST(AttentionPositionsTest, WindowsAreInclusive) {
  AttentionCall<float> call = SimpleCall(1, 1, 6, 6);
  call.options.causal = true;
  call.options.window_left = 2;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 4), ElementsAre(2, 3, 4));
  call.options.causal = false;
  call.options.window_right = 1;
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 4), ElementsAre(2, 3, 4, 5));
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(0, 1));
}

TEST(AttentionPositionsTest,
     ABidirectionalWindowWithUnequalLengthsUsesEachItemsEnd) {
  AttentionCall<float> call = SimpleCall(2, 1, 3, 8);
  call.options.window_left = 1;
  call.options.window_right = 1;
  call.options.alignment = Alignment::kBottomRight;
  call.options.key_lengths = {8, 5};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(SeenKeys(call, 0, 0, 0), ElementsAre(4, 5, 6));
  EXPECT_THAT(SeenKeys(call, 0, 0, 2), ElementsAre(6, 7));
  EXPECT_THAT(SeenKeys(call, 1, 0, 0), ElementsAre(1, 2, 3));
  EXPECT_THAT(SeenKeys(call, 1, 0, 2), ElementsAre(3, 4));
}

TEST(AttentionPositionsTest, AlignmentMustBeGivenWhereItMatters) {
  AttentionCall<float> call = SimpleCall(1, 1, 2, 3);
  EXPECT_TRUE(call.Compute().ok()) << "without causal or window it cannot";
  call.options.causal = true;
  absl::Status status = call.Compute();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorField(status), "alignment");
  EXPECT_THAT(std::string(status.message()), HasSubstr("BOTTOM_RIGHT"));

  AttentionCall<float> square = SimpleCall(1, 1, 3, 3);
  square.options.causal = true;
  EXPECT_TRUE(square.Compute().ok()) << "with equal lengths it cannot";
  square.options.key_lengths = {3};
  EXPECT_EQ(ErrorField(square.Compute()), "alignment");
}

TEST(AttentionPositionsTest, RightPaddedTopLeftEqualsEachItemTruncated) {
  AttentionCall<float> padded = SimpleCall(2, 2, 5, 5);
  padded.options.causal = true;
  padded.options.alignment = Alignment::kTopLeft;
  padded.options.key_lengths = {5, 3};
  ASSERT_TRUE(padded.Compute().ok());

  AttentionCall<float> truncated = SimpleCall(1, 2, 3, 3);
  truncated.options.causal = true;
  for (int64_t head = 0; head < 2; ++head) {
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t c = 0; c < 4; ++c) {
        truncated.query.at(0, head, i, c) = padded.query.at(1, head, i, c);
        truncated.key.at(0, head, i, c) = padded.key.at(1, head, i, c);
        if (c < 3) {
          truncated.value.at(0, head, i, c) = padded.value.at(1, head, i, c);
        }
      }
    }
  }
  ASSERT_TRUE(truncated.Compute().ok());
  AttentionCall<float> other = padded;
  other.options.alignment = Alignment::kBottomRight;
  ASSERT_TRUE(other.Compute().ok());
  bool differs = false;
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t c = 0; c < 3; ++c) {
      // Rows 0 to 2 of the padded item see only keys 0 to 2. The GEMMs have
      // other shapes, so the bits may differ by their rounding: at most
      // 2 * gamma_(4 + 3) * max|value| with |elements| <= 1.
      EXPECT_NEAR(padded.output.at(1, 1, i, c), truncated.output.at(0, 1, i, c),
                  2 * 7 * 0x1p-24);
      differs |= std::abs(other.output.at(1, 1, i, c) -
                          padded.output.at(1, 1, i, c)) > 1e-3f;
    }
  }
  EXPECT_TRUE(differs);
}

TEST(AttentionPositionsTest, NanBeyondKeyLengthsChangesNoBit) {
  AttentionCall<float> clean = SimpleCall(2, 2, 3, 6);
  clean.options.key_lengths = {4, 0};
  AttentionCall<float> dirty = clean;
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t b = 0; b < 2; ++b) {
      for (int64_t j = b == 0 ? 4 : 0; j < 6; ++j) {
        dirty.key.at(b, h, j, 1) = kNan;
        dirty.value.at(b, h, j, 2) = kNan;
      }
    }
  }
  ASSERT_TRUE(clean.Compute().ok());
  ASSERT_TRUE(dirty.Compute().ok());
  EXPECT_EQ(clean.output.elements, dirty.output.elements);
  EXPECT_EQ(clean.matrix.elements, dirty.matrix.elements);
  EXPECT_EQ(clean.lse.elements, dirty.lse.elements);
}

}  // namespace
}  // namespace attention::core
