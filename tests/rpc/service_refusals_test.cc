// What ComputeAttention refuses: code, field, what was expected and what came.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::HasSubstr;
using Request = v1::ComputeAttentionRequest;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// query [2, 3, 8], key [2, 5, 8], two heads.
Request CrossAttention() {
  Request request;
  *request.mutable_query() = Floats({2, 3, 8}, 1);
  *request.mutable_key() = Floats({2, 5, 8}, 2);
  request.set_num_heads(2);
  return request;
}

// query [2, 3, 4], with a weight set of two heads that projects from width 4.
Request Projected() {
  Request request;
  *request.mutable_query() = Floats({2, 3, 4});
  request.mutable_weight_set()->set_name("layer");
  return request;
}

// query [2, 2, 3, 4], heads apart.
Request HeadsApart() {
  Request request;
  *request.mutable_query() = Floats({2, 2, 3, 4});
  request.set_num_heads(2);
  return request;
}

v1::Tensor WithElement(const v1::Tensor& tensor, size_t index, double element) {
  std::vector<double> elements = Elements(tensor);
  elements[index] = element;
  return TensorOf(tensor.dtype(), ShapeOf(tensor), elements);
}

struct Case {
  std::string name;
  Request request;
  std::function<void(Request&)> change;
  std::string field;
  std::string description;  // a part of it
  grpc::StatusCode code = grpc::StatusCode::INVALID_ARGUMENT;
};

std::ostream& operator<<(std::ostream& out, const Case& refused) {
  return out << refused.name;
}

std::vector<Case> TensorCases() {
  return {
      {"QueryIsRequired", {}, [](Request&) {}, "query", "is required"},
      {"BoolQuery", CrossAttention(),
       [](Request& r) {
         *r.mutable_query() = TensorOf(v1::DATA_TYPE_BOOL, {1, 1}, {1});
       },
       "query.dtype", "is BOOL; expected FLOAT32"},
      {"UnspecifiedDtype", CrossAttention(),
       [](Request& r) { r.mutable_query()->clear_dtype(); }, "query.dtype",
       "is UNSPECIFIED"},
      {"UnknownDtype", CrossAttention(),
       [](Request& r) {
         r.mutable_key()->set_dtype(static_cast<v1::DataType>(77));
       },
       "key.dtype", "is 77"},
      {"QueryOfRankOne", CrossAttention(),
       [](Request& r) { *r.mutable_query() = Floats({4}); }, "query.shape",
       "has 1 axis; expected [len, width]"},
      {"QueryOfRankZero", CrossAttention(),
       [](Request& r) { r.mutable_query()->clear_shape(); }, "query.shape",
       "has 0 axes"},
      {"QueryOfRankFive", CrossAttention(),
       [](Request& r) {
         *r.mutable_query() = Floats({1, 1, 1, 2, 2});
       },
       "query.shape", "has 5 axes"},
      {"NegativeAxis", CrossAttention(),
       [](Request& r) { r.mutable_query()->set_shape(1, -3); },
       "query.shape[1]", "is -3"},
      {"AxisBeyondMaxAxisEvenWhereAnotherIsZero", CrossAttention(),
       [](Request& r) {
         *r.mutable_query() = Floats({0, 3, 8});
         r.mutable_query()->set_shape(1, int64_t{1} << 40);
       },
       "query.shape[1]", "is 1099511627776"},
      {"ByteCountAgainstShape", CrossAttention(),
       [](Request& r) { r.mutable_query()->mutable_data()->pop_back(); },
       "query.data", "has 191 bytes but shape [2, 3, 8] of FLOAT32 takes 192"},
      {"BothDataAndValues", CrossAttention(),
       [](Request& r) { r.mutable_key()->add_values(1); }, "key",
       "has both data"},
      {"NeitherDataNorValues", CrossAttention(),
       [](Request& r) { r.mutable_key()->clear_data(); }, "key",
       "has neither data nor values"},
      {"KeyOfAnotherDtype", CrossAttention(),
       [](Request& r) {
         *r.mutable_key() =
             TensorOf(v1::DATA_TYPE_FLOAT64, {2, 5, 8}, Elements(r.key()));
       },
       "key.dtype", "is FLOAT64 but query.dtype is FLOAT32"},
      {"KeyOfAnotherRank", CrossAttention(),
       [](Request& r) {
         *r.mutable_key() = Floats({5, 8});
       },
       "key.shape", "has 2 axes but query.shape has 3"},
      {"KeyOfAnotherBatch", CrossAttention(),
       [](Request& r) {
         *r.mutable_key() = Floats({3, 5, 8});
       },
       "key.shape[0]", "is 3 but query.shape[0] is 2; both are batch"},
      {"KeyOfAnotherWidth", CrossAttention(),
       [](Request& r) {
         r.clear_num_heads();
         *r.mutable_key() = Floats({2, 5, 4});
       },
       "key.shape[2]", "is 4 but query.shape[2] is 8; both are head_dim"},
      {"KeyOfAnotherWidthWithHeads", CrossAttention(),
       [](Request& r) {
         *r.mutable_key() = Floats({2, 5, 4});
       },
       "key.shape[2]",
       "is 4 but query.shape[2] is 8; both are num_heads * head_dim"},
      {"KeyWidthOfGroupedHeads", CrossAttention(),
       [](Request& r) { r.set_num_kv_heads(1); }, "key.shape[2]",
       "is 8 but num_kv_heads * head_dim is 1 * 4 = 4"},
      {"ValueWithoutKey", CrossAttention(),
       [](Request& r) {
         r.clear_key();
         *r.mutable_value() = Floats({2, 3, 8});
       },
       "value", "comes without key"},
      {"ValueOfAnotherLength", CrossAttention(),
       [](Request& r) {
         *r.mutable_value() = Floats({2, 4, 8});
       },
       "value.shape[1]", "is 4 but key.shape[1] is 5; both are kv_len"},
      {"ValueWidthAgainstHeads", CrossAttention(),
       [](Request& r) {
         *r.mutable_value() = Floats({2, 5, 7});
       },
       "value.shape[2]", "is 7, not a multiple of num_kv_heads = 2"},
      {"ValueOfNoWidth", CrossAttention(),
       [](Request& r) {
         *r.mutable_value() = Floats({2, 5, 0});
       },
       "value.shape[2]", "is 0; value_dim must be at least 1"},
      {"QueryOfNoWidth", CrossAttention(),
       [](Request& r) {
         *r.mutable_query() = Floats({2, 3, 0});
       },
       "query.shape[2]", "is 0; head_dim must be at least 1"},
      {"NanInQuery", CrossAttention(),
       [](Request& r) {
         *r.mutable_query() = WithElement(r.query(), 25, kNan);
       },
       "query.data", "at index [1, 0, 1] is NaN"},
      {"InfinityInKey", CrossAttention(),
       [](Request& r) {
         *r.mutable_key() = WithElement(r.key(), 8, -kInfinity);
       },
       "key.data", "at index [0, 1, 0] is -inf"},
      {"NanInValue", CrossAttention(),
       [](Request& r) {
         *r.mutable_value() = WithElement(Floats({2, 5, 2}), 3, kNan);
       },
       "value.data", "at index [0, 1, 1] is NaN"},
      {"NanWithinKeyLengths", CrossAttention(),
       [](Request& r) {
         r.add_key_lengths(1);
         r.add_key_lengths(4);
         *r.mutable_key() = WithElement(r.key(), size_t{5 + 3} * 8, kNan);
       },
       "key.data", "at index [1, 3, 0] is NaN"},
  };
}

std::vector<Case> HeadCases() {
  return {
      {"NoHeads", CrossAttention(), [](Request& r) { r.set_num_heads(0); },
       "num_heads", "is 0; at least 1"},
      {"NegativeHeads", CrossAttention(),
       [](Request& r) { r.set_num_heads(-2); }, "num_heads", "is -2"},
      {"WidthAgainstHeads", CrossAttention(),
       [](Request& r) { r.set_num_heads(3); }, "query.shape[2]",
       "is 8, not a multiple of num_heads = 3"},
      {"KvHeadsMustDivideHeads", CrossAttention(),
       [](Request& r) {
         r.set_num_heads(4);
         r.set_num_kv_heads(3);
       },
       "num_kv_heads", "is 3; expected a divisor of num_heads = 4"},
      {"NoKvHeads", CrossAttention(), [](Request& r) { r.set_num_kv_heads(0); },
       "num_kv_heads", "is 0"},
      {"SelfAttentionHasNoGroupedHeads", CrossAttention(),
       [](Request& r) {
         r.clear_key();
         r.set_num_kv_heads(1);
       },
       "num_kv_heads", "is 1 but key is absent"},
      {"HeadsApartMustBeCounted", HeadsApart(),
       [](Request& r) { r.clear_num_heads(); }, "num_heads",
       "is unset; a query of 4 axes requires it"},
      {"BatchLenHeadsOrderIsSeen", HeadsApart(),
       [](Request& r) {
         *r.mutable_query() = Floats({2, 3, 2, 4});
       },
       "query.shape[1]",
       "is 3 but num_heads is 2; the axes are [batch, num_heads, len, dim]"},
      {"HeadsApartKeyHeads", HeadsApart(),
       [](Request& r) {
         *r.mutable_key() = Floats({2, 1, 3, 4});
       },
       "key.shape[1]", "is 1 but num_kv_heads is 2"},
      {"HeadsApartSelfAttentionHasNoGroupedHeads", HeadsApart(),
       [](Request& r) { r.set_num_kv_heads(1); }, "num_kv_heads",
       "is 1 but key is absent"},
      {"HeadsApartKeyDim", HeadsApart(),
       [](Request& r) {
         *r.mutable_key() = Floats({2, 2, 3, 5});
       },
       "key.shape[3]", "is 5 but query.shape[3] is 4; both are head_dim"},
      {"HeadsApartValueDimZero", HeadsApart(),
       [](Request& r) {
         *r.mutable_key() = r.query();
         *r.mutable_value() = Floats({2, 2, 3, 0});
       },
       "value.shape[3]", "is 0"},
      {"HeadsApartValueLength", HeadsApart(),
       [](Request& r) {
         *r.mutable_key() = r.query();
         *r.mutable_value() = Floats({2, 2, 4, 4});
       },
       "value.shape[2]", "is 4 but key.shape[2] is 3; both are kv_len"},
  };
}

std::vector<Case> OptionCases() {
  return {
      {"AlignmentThatMattersMustBeSaid", CrossAttention(),
       [](Request& r) { r.set_causal(true); }, "alignment",
       "is unspecified but matters"},
      {"AlignmentMattersWithKeyLengths", CrossAttention(),
       [](Request& r) {
         r.clear_key();
         r.set_causal(true);
         r.add_key_lengths(1);
         r.add_key_lengths(3);
       },
       "alignment", "key_lengths are given"},
      {"UnknownAlignment", CrossAttention(),
       [](Request& r) { r.set_alignment(static_cast<v1::Alignment>(9)); },
       "alignment", "is 9; expected ALIGNMENT_TOP_LEFT"},
      {"OffsetsAndAlignment", CrossAttention(),
       [](Request& r) {
         r.set_causal(true);
         r.set_alignment(v1::ALIGNMENT_TOP_LEFT);
         r.add_query_offsets(0);
         r.add_query_offsets(0);
       },
       "query_offsets", "come together with alignment"},
      {"OffsetsThatSayNothing", CrossAttention(),
       [](Request& r) {
         r.add_query_offsets(0);
         r.add_query_offsets(0);
       },
       "query_offsets", "say nothing without causal"},
      {"OffsetsOfAnotherBatch", CrossAttention(),
       [](Request& r) {
         r.set_causal(true);
         r.add_query_offsets(0);
       },
       "query_offsets", "has 1 entries but batch is 2"},
      {"NegativeWindow", CrossAttention(),
       [](Request& r) { r.set_window_left(-1); }, "window_left", "is -1"},
      {"NegativeWindowRight", CrossAttention(),
       [](Request& r) { r.set_window_right(-1); }, "window_right", "is -1"},
      {"KeyLengthsOfAnotherBatch", CrossAttention(),
       [](Request& r) { r.add_key_lengths(1); }, "key_lengths",
       "has 1 entries but batch is 2"},
      {"KeyLengthBeyondKvLen", CrossAttention(),
       [](Request& r) {
         r.add_key_lengths(5);
         r.add_key_lengths(6);
       },
       "key_lengths[1]", "is 6; 0 to kv_len = 5"},
      {"NegativeKeyLength", CrossAttention(),
       [](Request& r) {
         r.add_key_lengths(-1);
         r.add_key_lengths(5);
       },
       "key_lengths[0]", "is -1"},
      {"NanScale", CrossAttention(),
       [](Request& r) { r.set_softmax_scale(kNan); }, "softmax_scale",
       "is nan"},
      {"ScaleBeyondTheComputeType", CrossAttention(),
       [](Request& r) { r.set_softmax_scale(1e300); }, "softmax_scale",
       "is 1e+300; FLOAT32 compute"},
      {"SoftcapOfZero", CrossAttention(), [](Request& r) { r.set_softcap(0); },
       "softcap", "is 0"},
      {"DropoutOfOne", CrossAttention(),
       [](Request& r) { r.mutable_dropout()->set_probability(1); },
       "dropout.probability", "is 1"},
      {"MatrixAndTopK", CrossAttention(),
       [](Request& r) {
         r.mutable_attention_matrix()->set_stage(
             v1::AttentionMatrixOptions::STAGE_SCORES);
         r.set_top_k(1);
       },
       "top_k", "comes together with attention_matrix"},
      {"TopKOfZero", CrossAttention(), [](Request& r) { r.set_top_k(0); },
       "top_k", "is 0; at least 1"},
      {"MatrixWithoutStage", CrossAttention(),
       [](Request& r) { r.mutable_attention_matrix(); },
       "attention_matrix.stage", "is 0; expected STAGE_SCORES"},
      {"UnknownStage", CrossAttention(),
       [](Request& r) {
         r.mutable_attention_matrix()->set_stage(
             static_cast<v1::AttentionMatrixOptions::Stage>(12));
       },
       "attention_matrix.stage", "is 12"},
      {"UnknownHeads", CrossAttention(),
       [](Request& r) {
         r.mutable_attention_matrix()->set_stage(
             v1::AttentionMatrixOptions::STAGE_SCORES);
         r.mutable_attention_matrix()->set_heads(
             static_cast<v1::AttentionMatrixOptions::Heads>(5));
       },
       "attention_matrix.heads", "is 5"},
      {"MeanOfScores", CrossAttention(),
       [](Request& r) {
         r.mutable_attention_matrix()->set_stage(
             v1::AttentionMatrixOptions::STAGE_SCORES);
         r.mutable_attention_matrix()->set_heads(
             v1::AttentionMatrixOptions::HEADS_MEAN);
       },
       "attention_matrix.heads", "STAGE_ATTENTION_WEIGHTS"},
  };
}

std::vector<Case> MaskCases() {
  return {
      {"FloatMask", CrossAttention(),
       [](Request& r) {
         *r.mutable_attend_mask() = Floats({3, 5});
       },
       "attend_mask.dtype", "is FLOAT32; expected BOOL"},
      {"BoolBias", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = TensorOf(v1::DATA_TYPE_BOOL, {5}, {1, 1, 1, 1, 1});
       },
       "bias.dtype", "is BOOL; expected a float"},
      {"MaskOfRankThree", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = Floats({2, 3, 5});
       },
       "bias.shape", "send [2, 1, 3, 5] or [1, 2, 3, 5]"},
      {"MaskOfAnotherKvLen", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = Floats({3, 4});
       },
       "bias.shape[1]", "is 4 but kv_len is 5; expected 5 or 1"},
      {"MaskOfAnotherQueryLen", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = Floats({2, 5});
       },
       "bias.shape[0]", "is 2 but query_len is 3; expected 3 or 1"},
      {"MaskOfAnotherBatch", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = Floats({3, 2, 3, 5});
       },
       "bias.shape[0]", "is 3 but batch is 2"},
      {"MaskOfAnotherHeadCount", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = Floats({2, 3, 3, 5});
       },
       "bias.shape[1]", "is 3 but num_heads is 2"},
      {"MaskByteThatIsNoBool", CrossAttention(),
       [](Request& r) {
         *r.mutable_attend_mask() =
             TensorOf(v1::DATA_TYPE_BOOL, {5}, {1, 1, 1, 1, 1});
         (*r.mutable_attend_mask()->mutable_data())[3] = 2;
       },
       "attend_mask.data", "is 2"},
      {"NanInBias", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = WithElement(Floats({5}), 2, kNan);
       },
       "bias.data", "at index [2] is NaN"},
      {"PlusInfinityInBias", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() = WithElement(Floats({5}), 4, kInfinity);
       },
       "bias.data", "at index [4] is +inf"},
      {"BiasBeyondTheComputeType", CrossAttention(),
       [](Request& r) {
         *r.mutable_bias() =
             TensorOf(v1::DATA_TYPE_FLOAT64, {5}, {0, 0, 1e300, 0, 0});
       },
       "bias.data", "is 1e+300"},
  };
}

std::vector<Case> WeightSetCases() {
  constexpr auto kNotFitting = grpc::StatusCode::FAILED_PRECONDITION;
  return {
      {"WeightSetWithoutName", Projected(),
       [](Request& r) { r.mutable_weight_set()->clear_name(); },
       "weight_set.name", "is required"},
      {"VersionZero", Projected(),
       [](Request& r) { r.mutable_weight_set()->set_version(0); },
       "weight_set.version", "is 0; at least 1"},
      {"EmptyLabel", Projected(),
       [](Request& r) { r.mutable_weight_set()->set_label(""); },
       "weight_set.label", "is empty"},
      {"UnknownWeightSet", Projected(),
       [](Request& r) { r.mutable_weight_set()->set_name("other"); },
       "weight_set.name", "\"layer\"", grpc::StatusCode::NOT_FOUND},
      {"UnknownVersion", Projected(),
       [](Request& r) { r.mutable_weight_set()->set_version(9); },
       "weight_set.version", "is 9", grpc::StatusCode::NOT_FOUND},
      {"UnknownLabel", Projected(),
       [](Request& r) { r.mutable_weight_set()->set_label("prod"); },
       "weight_set.label", "\"prod\"", grpc::StatusCode::NOT_FOUND},
      {"HeadsApartWithWeightSet", Projected(),
       [](Request& r) {
         *r.mutable_query() = Floats({2, 2, 3, 4});
         r.set_num_heads(2);
       },
       "query.shape", "has 4 axes; with a weight set"},
      {"HeadsOfTheWeightSet", Projected(),
       [](Request& r) { r.set_num_heads(4); }, "num_heads",
       "is 4 but weight set \"layer\" version 1 has 2", kNotFitting},
      {"KvHeadsOfTheWeightSet", Projected(),
       [](Request& r) { r.set_num_kv_heads(1); }, "num_kv_heads",
       "is 1 but weight set \"layer\" version 1 has 2", kNotFitting},
      {"QueryWidthOfTheWeightSet", Projected(),
       [](Request& r) {
         *r.mutable_query() = Floats({2, 3, 5});
       },
       "query.shape[2]",
       "is 5 but weight set \"layer\" version 1 projects query from width 4",
       kNotFitting},
      {"KeyWidthOfTheWeightSet", Projected(),
       [](Request& r) {
         *r.mutable_key() = Floats({2, 5, 3});
       },
       "key.shape[2]", "projects key from width 4", kNotFitting},
      {"ValueWidthOfTheWeightSet", Projected(),
       [](Request& r) {
         *r.mutable_key() = Floats({2, 5, 4});
         *r.mutable_value() = Floats({2, 5, 3});
       },
       "value.shape[2]", "projects value from width 4", kNotFitting},
  };
}

// One server for all tests of a suite, with the weight set "layer".
class OneServerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new TestServer;
    v1::SetWeightsRequest request;
    request.set_name("layer");
    *request.mutable_weights() = SmallWeightSet(2, 4);
    v1::SetWeightsResponse reply;
    ASSERT_TRUE(server_->client().Set(request, &reply).ok());
  }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  static TestServer* server_;
};

TestServer* OneServerTest::server_ = nullptr;

class ServiceRefusalsTest : public OneServerTest,
                            public ::testing::WithParamInterface<Case> {};

TEST_P(ServiceRefusalsTest, NamesFieldExpectedAndFound) {
  const Case& refused = GetParam();
  Request request = refused.request;
  v1::ComputeAttentionResponse reply;
  if (request.has_query()) {
    // It is the change that is refused.
    const grpc::Status before = server_->client().Compute(request, &reply);
    ASSERT_TRUE(before.ok()) << Refusal(before);
  }
  refused.change(request);
  const Refusal refusal(server_->client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, refused.code) << refusal;
  EXPECT_EQ(refusal.field, refused.field) << refusal;
  EXPECT_THAT(refusal.description, HasSubstr(refused.description));
  EXPECT_EQ(refusal.message, refusal.field + " " + refusal.description);
  EXPECT_FALSE(refusal.retry);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Tensors, ServiceRefusalsTest,
                         ::testing::ValuesIn(TensorCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Heads, ServiceRefusalsTest,
                         ::testing::ValuesIn(HeadCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Options, ServiceRefusalsTest,
                         ::testing::ValuesIn(OptionCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(Masks, ServiceRefusalsTest,
                         ::testing::ValuesIn(MaskCases()), NameOf);
INSTANTIATE_TEST_SUITE_P(WeightSets, ServiceRefusalsTest,
                         ::testing::ValuesIn(WeightSetCases()), NameOf);

// What only the computation, or the size of the text, can show.
class ServiceLateRefusalsTest : public OneServerTest {};

TEST_F(ServiceLateRefusalsTest, ScoresThatOverflowNameStageAndIndex) {
  Request request;
  *request.mutable_query() = TensorOf(v1::DATA_TYPE_FLOAT32, {2, 1}, {1, 3e38});
  request.set_softmax_scale(1);
  v1::ComputeAttentionResponse reply;
  const Refusal refusal(server_->client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_FALSE(refusal.message.empty());
  EXPECT_FALSE(reply.has_output());
}

TEST_F(ServiceLateRefusalsTest, ResultBeyondTheRangeOfFloat16IsRefused) {
  // value is near the end of the range of FLOAT16; an output projection, in
  // float, leads beyond it.
  v1::WeightSet doubling;
  doubling.set_num_heads(1);
  doubling.set_layout(v1::LAYOUT_IN_OUT);
  for (v1::Projection* projection :
       {doubling.mutable_query(), doubling.mutable_key()}) {
    *projection->mutable_weight() =
        TensorOf(v1::DATA_TYPE_FLOAT32, {1, 1}, {0});
  }
  *doubling.mutable_value()->mutable_weight() =
      TensorOf(v1::DATA_TYPE_FLOAT32, {1, 1}, {2});
  v1::SetWeightsRequest set;
  set.set_name("doubling");
  *set.mutable_weights() = doubling;
  v1::SetWeightsResponse set_reply;
  ASSERT_TRUE(server_->client().Set(set, &set_reply).ok());

  Request request;
  request.mutable_weight_set()->set_name("doubling");
  *request.mutable_query() = TensorOf(v1::DATA_TYPE_FLOAT16, {1, 1}, {65024});
  v1::ComputeAttentionResponse reply;
  const Refusal refusal(server_->client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_THAT(refusal.field, HasSubstr("output"));
  EXPECT_THAT(refusal.description, HasSubstr("is 130048"));
  *request.mutable_query() = TensorOf(v1::DATA_TYPE_BFLOAT16, {1, 1}, {65024});
  EXPECT_TRUE(server_->client().Compute(request, &reply).ok());
}

TEST_F(ServiceLateRefusalsTest, LongTextIsCutToFitTheTrailers) {
  Request request = Projected();
  std::string name;
  for (int i = 0; i < 50000; ++i) name += "\xC3\xA9";
  request.mutable_weight_set()->set_name(name);
  v1::ComputeAttentionResponse reply;
  const Refusal refusal(server_->client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "weight_set.name");
  EXPECT_LE(refusal.message.size(), 1024U);
}

}  // namespace
}  // namespace attention
