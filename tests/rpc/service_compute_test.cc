// ComputeAttention over an in-process channel: what comes back.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::DoubleNear;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::Pointwise;

class ServiceComputeTest : public ::testing::Test {
 protected:
  v1::ComputeAttentionResponse Compute(
      const v1::ComputeAttentionRequest& request) {
    v1::ComputeAttentionResponse reply;
    const grpc::Status status = server_.client().Compute(request, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply;
  }

  void Set(const std::string& name, const v1::WeightSet& weights) {
    v1::SetWeightsRequest request;
    request.set_name(name);
    *request.mutable_weights() = weights;
    v1::SetWeightsResponse reply;
    const grpc::Status status = server_.client().Set(request, &reply);
    ASSERT_TRUE(status.ok()) << Refusal(status);
  }

  TestServer server_;
};

// Elements of a [batch, rows, heads * columns] tensor as [batch, heads, rows,
// columns].
std::vector<double> HeadsApart(const std::vector<double>& elements,
                               int64_t batch, int64_t rows, int64_t heads,
                               int64_t columns) {
  std::vector<double> apart;
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t h = 0; h < heads; ++h) {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t c = 0; c < columns; ++c) {
          apart.push_back(elements[static_cast<size_t>(
              ((b * rows + i) * heads + h) * columns + c)]);
        }
      }
    }
  }
  return apart;
}

TEST_F(ServiceComputeTest, ChapterWithoutWeightsComesOut) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT32, {6, 3},
               {0.43, 0.15, 0.89, 0.55, 0.87, 0.66, 0.57, 0.85, 0.64, 0.22,
                0.58, 0.33, 0.77, 0.25, 0.10, 0.05, 0.80, 0.55});
  request.set_softmax_scale(1);
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
  const auto reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.output()), ElementsAre(6, 3));
  // The chapter prints four digits.
  constexpr double kHalfDigit = 0.5e-4 + 1e-6;
  EXPECT_THAT(Elements(reply.output()),
              Pointwise(DoubleNear(kHalfDigit),
                        {0.4421, 0.5931, 0.5790, 0.4419, 0.6515, 0.5683, 0.4431,
                         0.6496, 0.5671, 0.4304, 0.6298, 0.5510, 0.4671, 0.5910,
                         0.5266, 0.4177, 0.6503, 0.5645}));
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(1, 6, 6));
  const std::vector<double> matrix = Elements(reply.attention_matrix());
  EXPECT_THAT(std::vector<double>(matrix.begin() + 6, matrix.begin() + 12),
              Pointwise(DoubleNear(kHalfDigit),
                        {0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581}));
  EXPECT_FALSE(reply.has_weight_set_used());
}

TEST_F(ServiceComputeTest, HeadsApartAndSideBySideAreTheSameToTheBit) {
  constexpr int64_t kBatch = 2;
  constexpr int64_t kRows = 3;
  constexpr int64_t kHeads = 4;
  constexpr int64_t kDim = 5;
  v1::ComputeAttentionRequest together;
  *together.mutable_query() = Floats({kBatch, kRows, kHeads * kDim}, 1);
  *together.mutable_key() = Floats({kBatch, kRows, kHeads * kDim}, 2);
  together.set_num_heads(kHeads);
  v1::ComputeAttentionRequest apart = together;
  for (v1::Tensor* tensor : {apart.mutable_query(), apart.mutable_key()}) {
    *tensor =
        TensorOf(v1::DATA_TYPE_FLOAT32, {kBatch, kHeads, kRows, kDim},
                 HeadsApart(Elements(*tensor), kBatch, kRows, kHeads, kDim));
  }
  const auto of_together = Compute(together);
  const auto of_apart = Compute(apart);
  EXPECT_THAT(ShapeOf(of_together.output()),
              ElementsAre(kBatch, kRows, kHeads * kDim));
  EXPECT_THAT(ShapeOf(of_apart.output()),
              ElementsAre(kBatch, kHeads, kRows, kDim));
  EXPECT_EQ(
      HeadsApart(Elements(of_together.output()), kBatch, kRows, kHeads, kDim),
      Elements(of_apart.output()));
}

TEST_F(ServiceComputeTest, ItemOfABatchIsTheSameAloneToTheBit) {
  constexpr int64_t kItem = 30;  // elements, 5 rows of 6
  v1::ComputeAttentionRequest both;
  *both.mutable_query() = Floats({2, 5, 6});
  both.set_num_heads(2);
  both.set_causal(true);
  v1::ComputeAttentionRequest second = both;
  const std::vector<double> elements = Elements(both.query());
  *second.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT32, {5, 6},
               {elements.begin() + kItem, elements.end()});
  const auto of_both = Elements(Compute(both).output());
  const auto alone = Compute(second);
  EXPECT_THAT(ShapeOf(alone.output()), ElementsAre(5, 6));
  EXPECT_EQ(std::vector<double>(of_both.begin() + kItem, of_both.end()),
            Elements(alone.output()));
}

TEST_F(ServiceComputeTest, AbsentKeyIsTheQueryAndAbsentValueTheKey) {
  v1::ComputeAttentionRequest absent;
  *absent.mutable_query() = Floats({4, 3});
  v1::ComputeAttentionRequest given = absent;
  *given.mutable_key() = given.query();
  *given.mutable_value() = given.query();
  EXPECT_EQ(Compute(absent).output().data(), Compute(given).output().data());

  v1::ComputeAttentionRequest cross = absent;
  *cross.mutable_key() = Floats({5, 3}, 9);
  v1::ComputeAttentionRequest cross_given = cross;
  *cross_given.mutable_value() = cross.key();
  EXPECT_EQ(Compute(cross).output().data(),
            Compute(cross_given).output().data());
  EXPECT_NE(Compute(cross).output().data(), Compute(absent).output().data());
}

TEST_F(ServiceComputeTest, ValueMayHaveItsOwnWidth) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({2, 3, 8});
  *request.mutable_key() = Floats({2, 5, 4}, 1);
  *request.mutable_value() = Floats({2, 5, 6}, 2);
  request.set_num_heads(4);
  request.set_num_kv_heads(2);
  // head_dim = 8 / 4, value_dim = 6 / 2.
  EXPECT_THAT(ShapeOf(Compute(request).output()), ElementsAre(2, 3, 4 * 3));
}

TEST_F(ServiceComputeTest, ReplyHasTheDtypeOfTheQuery) {
  const std::vector<double> elements = {0.5, -0.25, 1, 0.75, 2, -1};
  std::vector<double> exact;
  for (const v1::DataType dtype :
       {v1::DATA_TYPE_FLOAT64, v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT16,
        v1::DATA_TYPE_BFLOAT16}) {
    v1::ComputeAttentionRequest request;
    *request.mutable_query() = TensorOf(dtype, {3, 2}, elements);
    request.set_want_lse(true);
    const auto reply = Compute(request);
    EXPECT_EQ(reply.output().dtype(), dtype);
    EXPECT_EQ(reply.lse().dtype(), dtype == v1::DATA_TYPE_FLOAT64
                                       ? v1::DATA_TYPE_FLOAT64
                                       : v1::DATA_TYPE_FLOAT32);
    if (exact.empty()) exact = Elements(reply.output());
    // The inputs are exact in every dtype and |output| < 2, so what differs is
    // float arithmetic, far below one rounding to bfloat16: 2^-8 of 2.
    EXPECT_THAT(Elements(reply.output()),
                Pointwise(DoubleNear(std::ldexp(1, -7)), exact));
  }
}

TEST_F(ServiceComputeTest, ReplyUsesValuesExactlyWhenTheQueryDid) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({3, 2});
  request.set_want_lse(true);
  request.set_top_k(2);
  const auto as_data = Compute(request);
  *request.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT32, {3, 2}, Elements(request.query()), true);
  const auto as_values = Compute(request);
  const auto check = [](const v1::Tensor& data, const v1::Tensor& values) {
    EXPECT_EQ(data.values_size(), 0);
    EXPECT_GT(values.values_size(), 0);
    EXPECT_TRUE(values.data().empty());
    EXPECT_EQ(ShapeOf(data), ShapeOf(values));
    EXPECT_EQ(Elements(data), Elements(values));
  };
  check(as_data.output(), as_values.output());
  check(as_data.lse(), as_values.lse());
  check(as_data.top_k().weights(), as_values.top_k().weights());
}

TEST_F(ServiceComputeTest, MasksAreReadFromEitherCarrier) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({2, 3});
  std::vector<std::string> outputs;
  for (const bool as_values : {false, true}) {
    *request.mutable_attend_mask() =
        TensorOf(v1::DATA_TYPE_BOOL, {2, 2}, {1, 0, 1, 1}, as_values);
    *request.mutable_bias() =
        TensorOf(v1::DATA_TYPE_FLOAT64, {2}, {0.5, -0.5}, as_values);
    outputs.push_back(Compute(request).output().data());
  }
  EXPECT_EQ(outputs[0], outputs[1]);
  request.clear_attend_mask();
  EXPECT_NE(Compute(request).output().data(), outputs[0]);
}

// Elements of a tensor of rank 1, 2 or 4 with every axis of the size in `full`,
// [batch, heads, rows, keys]: what has size 1 is repeated.
std::vector<double> Stretched(const std::vector<double>& elements,
                              const std::vector<int64_t>& shape,
                              const std::array<int64_t, 4>& full) {
  std::vector<int64_t> four(4 - shape.size(), 1);
  four.insert(four.end(), shape.begin(), shape.end());
  std::vector<double> stretched;
  for (int64_t at = 0; at < full[0] * full[1] * full[2] * full[3]; ++at) {
    int64_t rest = at;
    int64_t stride = 1;
    int64_t index = 0;
    for (size_t axis = 4; axis-- > 0;) {
      if (four[axis] > 1) index += rest % full[axis] * stride;
      stride *= four[axis];
      rest /= full[axis];
    }
    stretched.push_back(elements[static_cast<size_t>(index)]);
  }
  return stretched;
}

TEST_F(ServiceComputeTest, MaskAxesOfSizeOneAreStretched) {
  // batch, heads, rows and keys that differ, so that no axis passes for
  // another.
  constexpr int64_t kBatch = 2;
  constexpr int64_t kHeads = 3;
  constexpr int64_t kRows = 4;
  constexpr int64_t kKeys = 5;
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({kBatch, kRows, kHeads * 2}, 1);
  *request.mutable_key() = Floats({kBatch, kKeys, kHeads * 2}, 2);
  request.set_num_heads(kHeads);
  const std::vector<std::vector<int64_t>> shapes = {
      {kKeys},           {1},
      {kRows, kKeys},    {kRows, 1},
      {1, kKeys},        {kBatch, kHeads, kRows, kKeys},
      {kBatch, 1, 1, 1}, {1, kHeads, 1, kKeys},
      {1, 1, kRows, 1},  {kBatch, 1, kRows, kKeys}};
  for (const std::vector<int64_t>& shape : shapes) {
    request.clear_bias();
    v1::ComputeAttentionRequest stretched = request;
    *request.mutable_bias() = Floats(shape, 3);
    *stretched.mutable_bias() =
        TensorOf(v1::DATA_TYPE_FLOAT32, {kBatch, kHeads, kRows, kKeys},
                 Stretched(Elements(request.bias()), shape,
                           {kBatch, kHeads, kRows, kKeys}));
    EXPECT_EQ(Compute(request).output().data(),
              Compute(stretched).output().data())
        << ::testing::PrintToString(shape);
  }
}

TEST_F(ServiceComputeTest,
       WhatIsAskedForHasTheBatchAxisExactlyWhenTheQueryHas) {
  v1::ComputeAttentionRequest request;
  request.set_num_heads(2);
  request.set_want_lse(true);
  *request.mutable_query() = Floats({3, 4});
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
  auto reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(2, 3, 3));
  EXPECT_THAT(ShapeOf(reply.lse()), ElementsAre(2, 3));
  *request.mutable_query() = Floats({1, 3, 4});
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(1, 2, 3, 3));
  EXPECT_THAT(ShapeOf(reply.lse()), ElementsAre(1, 2, 3));
  request.mutable_attention_matrix()->set_heads(
      v1::AttentionMatrixOptions::HEADS_MEAN);
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(1, 3, 3));
  request.clear_attention_matrix();
  request.set_top_k(7);
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.top_k().weights()), ElementsAre(1, 2, 3, 3));
  EXPECT_EQ(reply.top_k().indices_size(), 2 * 3 * 3);
}

TEST_F(ServiceComputeTest, NanBeyondKeyLengthsChangesNoBit) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({2, 2, 3});
  request.add_key_lengths(1);
  request.add_key_lengths(3);
  const auto with_tail = [&](double tail, int64_t heads) {
    std::vector<double> elements = Elements(Floats({2, 4, 3}, 5));
    const auto row = [&](int64_t item, int64_t at) {
      for (int64_t c = 0; c < 3; ++c) {
        elements[static_cast<size_t>((item * 4 + at) * 3 + c)] = tail;
      }
    };
    for (const int64_t at : {1, 2, 3}) row(0, at);
    row(1, 3);
    const std::vector<int64_t> shape =
        heads > 0 ? std::vector<int64_t>{2, heads, 4, 3}
                  : std::vector<int64_t>{2, 4, 3};
    *request.mutable_key() = TensorOf(v1::DATA_TYPE_FLOAT32, shape, elements);
    *request.mutable_value() = request.key();
    return Compute(request).output().data();
  };
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(with_tail(0, 0), with_tail(nan, 0));
  *request.mutable_query() = Floats({2, 1, 2, 3});
  request.set_num_heads(1);
  EXPECT_EQ(with_tail(0, 1), with_tail(nan, 1));
}

TEST_F(ServiceComputeTest, EmptyBatchAndEmptySequencesAreAnswered) {
  v1::ComputeAttentionRequest request;
  request.set_want_lse(true);
  *request.mutable_query() = Floats({0, 3, 4});
  auto reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.output()), ElementsAre(0, 3, 4));
  EXPECT_TRUE(reply.output().data().empty());
  *request.mutable_query() = Floats({2, 0, 4});
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.output()), ElementsAre(2, 0, 4));
  // Queries without keys: every row is dead.
  *request.mutable_query() = Floats({2, 3, 4});
  *request.mutable_key() = Floats({2, 0, 4});
  *request.mutable_attend_mask() = TensorOf(v1::DATA_TYPE_BOOL, {1}, {1});
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_SCORES);
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.output()), ElementsAre(2, 3, 4));
  EXPECT_THAT(Elements(reply.output()), Each(0.0));
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(2, 1, 3, 0));
  EXPECT_THAT(Elements(reply.lse()),
              Each(-std::numeric_limits<double>::infinity()));
  request.clear_attention_matrix();
  request.set_top_k(3);
  reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.top_k().weights()), ElementsAre(2, 1, 3, 0));
  EXPECT_EQ(reply.top_k().indices_size(), 0);
}

TEST_F(ServiceComputeTest, WeightSetIsAppliedAndNamed) {
  // The identity as every projection, so the answer is known without it.
  v1::WeightSet identity;
  identity.set_num_heads(1);
  identity.set_layout(v1::LAYOUT_IN_OUT);
  for (v1::Projection* projection :
       {identity.mutable_query(), identity.mutable_key(),
        identity.mutable_value()}) {
    *projection->mutable_weight() =
        TensorOf(v1::DATA_TYPE_FLOAT32, {2, 2}, {1, 0, 0, 1});
  }
  Set("identity", identity);
  v1::ComputeAttentionRequest plain;
  *plain.mutable_query() = Floats({3, 2});
  v1::ComputeAttentionRequest projected = plain;
  projected.mutable_weight_set()->set_name("identity");
  const auto reply = Compute(projected);
  EXPECT_EQ(Elements(reply.output()), Elements(Compute(plain).output()));
  EXPECT_EQ(reply.weight_set_used().name(), "identity");
  EXPECT_EQ(reply.weight_set_used().version(), 1);
  EXPECT_EQ(reply.weight_set_used().sha256().size(), 64U);
}

TEST_F(ServiceComputeTest, WeightSetDecidesHeadsAndWidths) {
  Set("layer", SmallWeightSet(2, 4, 3, 2, 5));
  v1::ComputeAttentionRequest request;
  request.mutable_weight_set()->set_name("layer");
  *request.mutable_query() = Floats({2, 3, 4});
  request.set_num_heads(2);
  request.set_num_kv_heads(2);
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
  const auto reply = Compute(request);
  EXPECT_THAT(ShapeOf(reply.output()), ElementsAre(2, 3, 5));
  EXPECT_THAT(ShapeOf(reply.attention_matrix()), ElementsAre(2, 2, 3, 3));
}

TEST_F(ServiceComputeTest, DeadRowsOutputIsTheBiasOfTheOutputProjection) {
  const v1::WeightSet set = SmallWeightSet(2, 4, 3, 2, 5);
  Set("layer", set);
  v1::ComputeAttentionRequest request;
  request.mutable_weight_set()->set_name("layer");
  *request.mutable_query() = Floats({1, 2, 4});
  request.add_key_lengths(0);
  const auto output = Elements(Compute(request).output());
  const auto bias = Elements(set.output().bias());
  EXPECT_THAT(std::vector<double>(output.begin(), output.begin() + 5),
              ElementsAreArray(bias));
  EXPECT_THAT(std::vector<double>(output.begin() + 5, output.end()),
              ElementsAreArray(bias));
}

TEST_F(ServiceComputeTest, DoubleQueryUsesFloatWeightsInDouble) {
  Set("layer", SmallWeightSet());
  v1::ComputeAttentionRequest request;
  request.mutable_weight_set()->set_name("layer");
  *request.mutable_query() = Floats({3, 4});
  const auto in_float = Elements(Compute(request).output());
  *request.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT64, {3, 4}, Elements(request.query()));
  const auto reply = Compute(request);
  EXPECT_EQ(reply.output().dtype(), v1::DATA_TYPE_FLOAT64);
  // Sums of at most six products of numbers below 2 in float: an error of a
  // few dozen roundings of 2^-24 of at most 12.
  EXPECT_THAT(Elements(reply.output()),
              Pointwise(DoubleNear(std::ldexp(12, -18)), in_float));
  EXPECT_NE(Elements(reply.output()), in_float);
}

TEST_F(ServiceComputeTest, TimingIsReported) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({3, 2});
  const auto reply = Compute(request);
  EXPECT_TRUE(reply.timing().has_queue());
  EXPECT_GT(reply.timing().compute().nanos() +
                reply.timing().compute().seconds() * 1'000'000'000,
            0);
}

TEST_F(ServiceComputeTest, SameRequestHasTheSameBytes) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({3, 40, 16});
  request.set_num_heads(4);
  request.set_want_lse(true);
  request.mutable_dropout()->set_probability(0.25);
  request.mutable_dropout()->set_seed(7);
  const auto first = Compute(request);
  for (int i = 0; i < 5; ++i) {
    const auto again = Compute(request);
    EXPECT_EQ(again.output().data(), first.output().data());
    EXPECT_EQ(again.lse().data(), first.lse().data());
  }
  request.mutable_dropout()->set_seed(8);
  EXPECT_NE(Compute(request).output().data(), first.output().data());
}

}  // namespace
}  // namespace attention
