// Projections and whole layers, one claim each.
#include "server/core/layer/layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "tests/core/attention_call.h"

namespace attention::core {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

// A layer of 2 query heads over 1 key/value head, head_dim 3, value_dim 2, with
// input widths 5, 4 and 6, and what it computes on.
struct LayerCall {
  static constexpr int64_t kHeads = 2, kKvHeads = 1, kValueDim = 2;

  Layout layout = Layout::kInOut;
  Owned<float> query_weight = Owned<float>::Distinct({1, 1, 5, 6}, 0.2);
  Owned<float> key_weight = Owned<float>::Distinct({1, 1, 4, 3}, 0.4);
  Owned<float> value_weight = Owned<float>::Distinct({1, 1, 6, 2}, 0.6);
  Owned<float> output_weight = Owned<float>::Distinct({1, 1, 4, 7}, 0.8);
  std::vector<float> output_bias = {1, 2, 3, 4, 5, 6, 7};
  bool with_output = true;

  Owned<float> query, key, value, output, lse;
  AttentionOptions options;

  LayerCall(int64_t batch, int64_t query_len, int64_t kv_len)
      : query(Owned<float>::Distinct({batch, 1, query_len, 5}, 1.1)),
        key(Owned<float>::Distinct({batch, 1, kv_len, 4}, 1.5)),
        value(Owned<float>::Distinct({batch, 1, kv_len, 6}, 1.9)) {}

  LayerWeights<float> weights() const {
    const auto project = [this](const Owned<float>& weight, const float* bias) {
      return Projection<float>{weight.elements.data(), bias,
                               weight.shape[layout == Layout::kInOut ? 2 : 3],
                               weight.shape[layout == Layout::kInOut ? 3 : 2],
                               layout};
    };
    LayerWeights<float> weights{kHeads,
                                kKvHeads,
                                project(query_weight, nullptr),
                                project(key_weight, nullptr),
                                project(value_weight, nullptr),
                                {}};
    if (with_output) {
      weights.output = project(output_weight, output_bias.data());
    }
    return weights;
  }

  absl::Status Compute() {
    const LayerWeights<float> layer = weights();
    const int64_t width = with_output ? layer.output->out : kHeads * kValueDim;
    constexpr float kUnwritten = std::numeric_limits<float>::quiet_NaN();
    output =
        Owned<float>({query.shape[0], 1, query.shape[2], width}, kUnwritten);
    lse = Owned<float>({query.shape[0], kHeads, query.shape[2], 1}, kUnwritten);
    const AttentionInputs<float> inputs{std::as_const(query).view(),
                                        std::as_const(key).view(),
                                        std::as_const(value).view(),
                                        {},
                                        {}};
    AttentionOutputs<float> outputs;
    outputs.output = output.view();
    outputs.lse = lse.view();
    absl::Status status = ValidateLayer(layer, inputs, options, outputs);
    if (!status.ok()) return status;
    return RunInline(LayerSteps(layer, inputs, options, outputs));
  }
};

Owned<float> Transposed(const Owned<float>& matrix) {
  Owned<float> transposed({1, 1, matrix.shape[3], matrix.shape[2]});
  for (int64_t i = 0; i < matrix.shape[2]; ++i) {
    for (int64_t j = 0; j < matrix.shape[3]; ++j) {
      transposed.at(0, 0, j, i) = matrix.at(0, 0, i, j);
    }
  }
  return transposed;
}

TEST(LayerTest, OutInIsInOutTransposed) {
  LayerCall in_out(2, 3, 4);
  ASSERT_TRUE(in_out.Compute().ok());
  LayerCall out_in = in_out;
  out_in.layout = Layout::kOutIn;
  out_in.query_weight = Transposed(in_out.query_weight);
  out_in.key_weight = Transposed(in_out.key_weight);
  out_in.value_weight = Transposed(in_out.value_weight);
  out_in.output_weight = Transposed(in_out.output_weight);
  ASSERT_TRUE(out_in.Compute().ok());
  for (size_t i = 0; i < in_out.output.elements.size(); ++i) {
    // The sums are of the same products, at most 6 of magnitude within 1 at
    // each of four steps, so a few dozen roundoffs of results of magnitude
    // within 20.
    EXPECT_NEAR(in_out.output.elements[i], out_in.output.elements[i],
                64 * 20 * 0x1p-24);
  }
}

TEST(LayerTest, KeyLengthsOfZeroLeaveTheOutputBias) {
  LayerCall call(2, 3, 4);
  call.options.key_lengths = {0, 4};
  ASSERT_TRUE(call.Compute().ok());
  for (int64_t row = 0; row < 3; ++row) {
    for (int64_t column = 0; column < 7; ++column) {
      EXPECT_EQ(call.output.at(0, 0, row, column),
                call.output_bias[static_cast<size_t>(column)]);
      EXPECT_NE(call.output.at(1, 0, row, column),
                call.output_bias[static_cast<size_t>(column)]);
    }
    for (int64_t head = 0; head < 2; ++head) {
      EXPECT_EQ(call.lse.at(0, head, row, 0),
                -std::numeric_limits<float>::infinity());
      EXPECT_TRUE(std::isfinite(call.lse.at(1, head, row, 0)));
    }
  }
}

TEST(LayerTest, WithoutAnOutputProjectionADeadRowIsZero) {
  LayerCall call(1, 2, 3);
  call.with_output = false;
  call.options.key_lengths = {0};
  ASSERT_TRUE(call.Compute().ok());
  EXPECT_THAT(call.output.elements, Each(0.0f));
}

TEST(LayerTest, RowsBeyondKeyLengthsAreNotProjected) {
  LayerCall clean(2, 3, 5);
  clean.options.key_lengths = {2, 4};
  LayerCall dirty = clean;
  for (int64_t batch = 0; batch < 2; ++batch) {
    for (int64_t row = batch == 0 ? 2 : 4; row < 5; ++row) {
      dirty.key.at(batch, 0, row, 0) = std::numeric_limits<float>::quiet_NaN();
      dirty.value.at(batch, 0, row, 0) = std::numeric_limits<float>::max();
    }
  }
  ASSERT_TRUE(clean.Compute().ok());
  ASSERT_TRUE(dirty.Compute().ok());
  EXPECT_EQ(clean.output.elements, dirty.output.elements);
}

TEST(LayerTest, SelfAttentionPacksItsInputOnceAndHasTheBitsOfThreeCopies) {
  constexpr int64_t kRows = 40;
  constexpr int64_t kWidth = 4;
  const auto weight = Owned<float>::Distinct({1, 1, kWidth, kWidth}, 0.2);
  const Projection<float> projection{weight.elements.data(), nullptr, kWidth,
                                     kWidth, Layout::kOutIn};
  const LayerWeights<float> weights{2,          2,          projection,
                                    projection, projection, {}};
  // The same numbers three times over.
  const auto distinct = [] {
    return Owned<float>::Distinct({1, 1, kRows, kWidth}, 1.1);
  };
  const auto input = distinct();
  const auto key = distinct();
  const auto value = distinct();
  const auto run = [&](const AttentionInputs<float>& inputs,
                       Owned<float>& output) {
    AttentionOutputs<float> outputs;
    outputs.output = output.view();
    const Computation steps = LayerSteps(weights, inputs, {}, outputs);
    EXPECT_TRUE(RunInline(steps).ok());
    return steps.front().tasks;
  };
  Owned<float> of_one({1, 1, kRows, kWidth}, 0.0f);
  Owned<float> of_three = of_one;
  EXPECT_EQ(run({input.view(), input.view(), input.view(), {}, {}}, of_one), 1);
  EXPECT_EQ(run({input.view(), key.view(), value.view(), {}, {}}, of_three), 3);
  EXPECT_EQ(of_one.elements, of_three.elements);
}

TEST(LayerTest, AWidthThatDoesNotFitIsAFailedPrecondition) {
  LayerCall call(1, 2, 3);
  call.key.shape = {1, 1, 3, 3};
  const absl::Status status = call.Compute();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorField(status), "key");
  EXPECT_THAT(std::string(status.message()), HasSubstr("from width 4"));
}

TEST(LayerTest, AProjectionThatOverflowsNamesItself) {
  LayerCall call(1, 2, 3);
  call.value.at(0, 0, 1, 0) = std::numeric_limits<float>::max();
  call.value_weight.elements.assign(call.value_weight.elements.size(), 4.0f);
  const absl::Status status = call.Compute();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorField(status), "value");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("value projection[batch 0, row 1, column 0]"));
}

// Projects rows of width 3 to width `out` and compares with plain loops.
void ExpectEveryElementIsProjected(int64_t rows, int64_t out, Layout layout) {
  constexpr int64_t kIn = 3;
  const auto input = Owned<float>::Distinct({2, 1, rows, kIn}, 0.3);
  const auto weight = Owned<float>::Distinct({1, 1, kIn, out}, 0.9);
  const auto bias = Owned<float>::Distinct({1, 1, 1, out}, 1.7);
  Owned<float> output({2, 1, rows, out},
                      std::numeric_limits<float>::quiet_NaN());
  const Step step = ProjectionStep<float>(
      input.view(),
      {{{weight.elements.data(), bias.elements.data(), kIn, out, layout},
        output.view(),
        {},
        "query projection"}});
  ASSERT_TRUE(RunInline({step}).ok());
  for (int64_t row = 0; row < 2 * rows; ++row) {
    for (int64_t column = 0; column < out; ++column) {
      double expected = bias.elements[static_cast<size_t>(column)];
      for (int64_t i = 0; i < kIn; ++i) {
        const int64_t at =
            layout == Layout::kInOut ? i * out + column : column * kIn + i;
        expected += static_cast<double>(
                        input.elements[static_cast<size_t>(row * kIn + i)]) *
                    weight.elements[static_cast<size_t>(at)];
      }
      // gamma_(3 + 1) times a sum of magnitude within 4.
      ASSERT_NEAR(output.elements[static_cast<size_t>(row * out + column)],
                  expected, 4 * 4 * 0x1p-24);
    }
  }
}

// Around the edges of the panels (96 rows, 384 columns) and both layouts.
TEST(ProjectionTest, EveryPanelIsWritten) {
  for (const int64_t rows : {1, 95, 96, 97, 200}) {
    for (const int64_t out : {1, 383, 384, 385}) {
      for (const Layout layout : {Layout::kInOut, Layout::kOutIn}) {
        ASSERT_NO_FATAL_FAILURE(
            ExpectEveryElementIsProjected(rows, out, layout))
            << rows << " rows to " << out;
      }
    }
  }
}

TEST(ProjectionTest, RowsBeyondTheCountOfAnItemAreNotWritten) {
  const auto input = Owned<float>::Distinct({2, 1, 100, 2}, 0.3);
  const auto weight = Owned<float>::Distinct({1, 1, 2, 3}, 0.9);
  Owned<float> output({2, 1, 100, 3}, -1.0f);
  ASSERT_TRUE(RunInline({ProjectionStep<float>(
                            input.view(), {{{weight.elements.data(), nullptr, 2,
                                             3, Layout::kInOut},
                                            output.view(),
                                            {97, 0},
                                            "query projection"}})})
                  .ok());
  for (int64_t row = 0; row < 100; ++row) {
    EXPECT_EQ(output.at(0, 0, row, 1) == -1.0f, row >= 97);
    EXPECT_EQ(output.at(1, 0, row, 1), -1.0f);
  }
}

}  // namespace
}  // namespace attention::core
