// ComputeAttention and StreamAttention with weights that come in the request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using Request = v1::ComputeAttentionRequest;
using Reply = v1::ComputeAttentionResponse;

// What a weight set is made of.
struct Sort {
  v1::DataType dtype = v1::DATA_TYPE_FLOAT32;
  v1::Layout layout = v1::LAYOUT_IN_OUT;
  bool biases = true;
  bool output = true;
  bool as_values = false;
  int32_t num_heads = 4;
  int32_t num_kv_heads = 2;
  int64_t query_width = 6;
  int64_t key_width = 5;
  int64_t head_dim = 3;
  int64_t value_dim = 2;
};

std::ostream& operator<<(std::ostream& out, const Sort& sort) {
  return out << v1::DataType_Name(sort.dtype) << " "
             << v1::Layout_Name(sort.layout) << (sort.biases ? " biases" : "")
             << (sort.output ? " output" : "")
             << (sort.as_values ? " values" : "") << " width "
             << sort.query_width;
}

v1::WeightSet Make(const Sort& sort) {
  v1::WeightSet set;
  set.set_num_heads(sort.num_heads);
  set.set_num_kv_heads(sort.num_kv_heads);
  set.set_layout(sort.layout);
  double phase = 0;
  const auto tensor = [&](std::vector<int64_t> shape) {
    const std::vector<double> elements = Elements(Floats(shape, phase += 1));
    return TensorOf(sort.dtype, std::move(shape), elements, sort.as_values);
  };
  const auto fill = [&](v1::Projection& projection, int64_t in, int64_t out) {
    *projection.mutable_weight() = sort.layout == v1::LAYOUT_IN_OUT
                                       ? tensor({in, out})
                                       : tensor({out, in});
    if (sort.biases) *projection.mutable_bias() = tensor({out});
  };
  fill(*set.mutable_query(), sort.query_width, sort.num_heads * sort.head_dim);
  fill(*set.mutable_key(), sort.key_width, sort.num_kv_heads * sort.head_dim);
  fill(*set.mutable_value(), sort.key_width,
       sort.num_kv_heads * sort.value_dim);
  if (sort.output) {
    fill(*set.mutable_output(), sort.num_heads * sort.value_dim, 7);
  }
  return set;
}

// Cross-attention of a batch of 2 that fits `sort`.
Request RequestFor(const Sort& sort, v1::DataType dtype, int64_t rows = 3) {
  Request request;
  const auto tensor = [&](std::vector<int64_t> shape, double phase) {
    const std::vector<double> elements = Elements(Floats(shape, phase));
    return TensorOf(dtype, std::move(shape), elements);
  };
  *request.mutable_query() = tensor({2, rows, sort.query_width}, 0.5);
  *request.mutable_key() = tensor({2, rows + 2, sort.key_width}, 0.7);
  request.add_key_lengths(static_cast<int32_t>(rows));
  request.add_key_lengths(static_cast<int32_t>(rows + 2));
  request.set_want_lse(true);
  return request;
}

// Without what may differ: when it was computed, and what the set is called.
std::string Bits(Reply reply) {
  reply.clear_timing();
  reply.mutable_weight_set_used()->clear_name();
  reply.mutable_weight_set_used()->clear_version();
  return reply.SerializeAsString();
}

// One server for all, since there are many sorts.
class InlineWeights : public ::testing::Test {
 protected:
  // The answer by a stored set, which is the one to be had.
  Reply WithStored(Request request, const v1::WeightSet& weights) {
    v1::SetWeightsRequest set;
    set.set_name(absl::StrCat("set-", ++sets_));
    *set.mutable_weights() = weights;
    v1::SetWeightsResponse stored;
    EXPECT_TRUE(server_.client().Set(set, &stored).ok());
    request.mutable_weight_set()->set_name(set.name());
    Reply reply;
    const grpc::Status status = server_.client().Compute(request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply;
  }

  Reply WithInline(Request request, const v1::WeightSet& weights) {
    *request.mutable_weights() = weights;
    Reply reply;
    const grpc::Status status = server_.client().Compute(request, &reply);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return reply;
  }

  void ExpectTheSame(const Request& request, const v1::WeightSet& weights) {
    const Reply expected = WithStored(request, weights);
    const Reply found = WithInline(request, weights);
    EXPECT_EQ(found.weight_set_used().name(), "");
    EXPECT_EQ(found.weight_set_used().version(), 0);
    EXPECT_EQ(found.weight_set_used().sha256().size(), 64U);
    EXPECT_TRUE(Bits(found) == Bits(expected));
  }

  TestServer server_;
  int sets_ = 0;
};

TEST_F(InlineWeights, AreAStoredSetToTheBit) {
  for (const v1::DataType dtype :
       {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64, v1::DATA_TYPE_FLOAT16,
        v1::DATA_TYPE_BFLOAT16}) {
    for (const v1::Layout layout : {v1::LAYOUT_IN_OUT, v1::LAYOUT_OUT_IN}) {
      for (int variant = 0; variant < 8; ++variant) {
        Sort sort;
        sort.dtype = dtype;
        sort.layout = layout;
        sort.biases = (variant & 1) != 0;
        sort.output = (variant & 2) != 0;
        sort.as_values = (variant & 4) != 0;
        SCOPED_TRACE(testing::PrintToString(sort));
        for (const v1::DataType query :
             {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64,
              v1::DATA_TYPE_BFLOAT16}) {
          ExpectTheSame(RequestFor(sort, query), Make(sort));
        }
      }
    }
  }
}

// In slices of the network, with products of OpenBLAS and in strips.
TEST_F(InlineWeights, OfAnySizeAreAStoredSetToTheBit) {
  for (const int64_t rows : {1, 40, 200}) {
    for (const v1::DataType dtype :
         {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT16}) {
      Sort sort;
      sort.dtype = dtype;
      sort.query_width = 300;
      sort.key_width = 200;
      sort.head_dim = sort.value_dim = 40;
      SCOPED_TRACE(testing::PrintToString(sort));
      ExpectTheSame(RequestFor(sort, v1::DATA_TYPE_FLOAT32, rows), Make(sort));
    }
  }
}

TEST_F(InlineWeights, OfSelfAttentionAreAStoredSetToTheBit) {
  Sort sort;
  sort.key_width = sort.query_width;
  Request request = RequestFor(sort, v1::DATA_TYPE_FLOAT32);
  request.clear_key();
  request.clear_key_lengths();
  request.set_causal(true);
  ExpectTheSame(request, Make(sort));
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
  ExpectTheSame(request, Make(sort));
}

TEST_F(InlineWeights, ChangeTheAnswer) {
  const Sort sort;
  const Request request = RequestFor(sort, v1::DATA_TYPE_FLOAT32);
  const v1::WeightSet weights = Make(sort);
  v1::WeightSet other = weights;
  other.mutable_value()->mutable_bias()->mutable_data()->back() ^= 1;
  const Reply first = WithInline(request, weights);
  const Reply second = WithInline(request, other);
  EXPECT_NE(first.output().data(), second.output().data());
  EXPECT_NE(first.weight_set_used().sha256(),
            second.weight_set_used().sha256());
}

TEST_F(InlineWeights, AreTheSameOnAStream) {
  const Sort sort;
  Request request = RequestFor(sort, v1::DATA_TYPE_FLOAT32);
  const Reply expected = WithInline(request, Make(sort));
  *request.mutable_weights() = Make(sort);
  TestStream stream(server_.server().InProcessChannel());
  ASSERT_TRUE(stream.Send(7, request));
  const auto answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 7U);
  EXPECT_TRUE(Bits(answer->response()) == Bits(expected));
  stream.Close();
  EXPECT_TRUE(stream.Finish().ok());
}

TEST_F(InlineWeights, LeaveNothingBehind) {
  WithInline(RequestFor({}, v1::DATA_TYPE_FLOAT32), Make({}));
  v1::ListWeightsResponse list;
  ASSERT_TRUE(server_.client().List({}, &list).ok());
  EXPECT_EQ(list.versions_size(), 0);
  EXPECT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
  EXPECT_EQ(server_.server().bytes_in_flight(), 0);
}

TEST_F(InlineWeights, AreAFeatureOfTheServer) {
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(server_.client().Info(&info).ok());
  EXPECT_THAT(info.features(), Contains("inline-weights"));
}

// What is converted is counted, and named by the flag that bounds it.
TEST(InlineWeightsLimits, ConvertedCopiesCountAsWorkspace) {
  Sort sort;
  sort.dtype = v1::DATA_TYPE_FLOAT16;
  sort.query_width = sort.key_width = 512;
  sort.head_dim = sort.value_dim = 64;
  Request request = RequestFor(sort, v1::DATA_TYPE_FLOAT32, 2);
  *request.mutable_weights() = Make(sort);
  int64_t elements = 0;
  for (const auto* projection :
       {&request.weights().query(), &request.weights().key(),
        &request.weights().value(), &request.weights().output()}) {
    elements += static_cast<int64_t>(projection->weight().data().size() +
                                     projection->bias().data().size()) /
                2;
  }
  const int64_t converted = elements * int64_t{sizeof(float)};
  // The rest of what so few rows need is far below it.
  for (const int64_t limit : {converted - 1, 2 * converted}) {
    auto config = TestServer::TestConfig();
    config.limits.max_workspace_bytes = limit;
    TestServer server(config);
    Reply reply;
    const Refusal refusal(server.client().Compute(request, &reply));
    if (limit >= converted) {
      EXPECT_EQ(refusal.code, grpc::StatusCode::OK) << refusal;
      continue;
    }
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_THAT(refusal.message, HasSubstr("--max-workspace-bytes"));
  }
}

// What is refused, and how.
struct Case {
  std::string name;
  std::function<void(Request&)> change;
  std::string field;
  std::string description;  // a part of it
};

std::ostream& operator<<(std::ostream& out, const Case& refused) {
  return out << refused.name;
}

v1::Tensor WithElement(const v1::Tensor& tensor, size_t index, double element,
                       bool as_values = false) {
  std::vector<double> elements = Elements(tensor);
  elements[index] = element;
  return TensorOf(tensor.dtype(), ShapeOf(tensor), elements, as_values);
}

std::vector<Case> Cases() {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  return {
      {"BothSources",
       [](Request& r) { r.mutable_weight_set()->set_name("layer"); }, "weights",
       "comes together with weight_set"},
      {"NoLayout", [](Request& r) { r.mutable_weights()->clear_layout(); },
       "weights.layout", "expected LAYOUT_IN_OUT"},
      {"NoKey", [](Request& r) { r.mutable_weights()->clear_key(); },
       "weights.key", "is required"},
      {"NoWeight",
       [](Request& r) { r.mutable_weights()->mutable_value()->clear_weight(); },
       "weights.value.weight", "is required"},
      {"NoElements",
       [](Request& r) {
         r.mutable_weights()->mutable_query()->mutable_weight()->clear_data();
       },
       "weights.query.weight", "has neither data nor values"},
      {"TooFewBytes",
       [](Request& r) {
         r.mutable_weights()
             ->mutable_query()
             ->mutable_weight()
             ->mutable_data()
             ->pop_back();
       },
       "weights.query.weight.data", "bytes but shape [6, 12]"},
      {"AnotherDtype",
       [](Request& r) {
         v1::Tensor& bias = *r.mutable_weights()->mutable_key()->mutable_bias();
         bias = TensorOf(v1::DATA_TYPE_FLOAT64, ShapeOf(bias), Elements(bias));
       },
       "weights.key.bias.dtype", "a weight set has one dtype"},
      {"WidthsThatDisagree",
       [](Request& r) {
         v1::Projection& key = *r.mutable_weights()->mutable_key();
         *key.mutable_weight() = Floats({5, 9});
         key.clear_bias();
       },
       "weights.key.weight.shape[1]", "is 9"},
      {"NoHeads", [](Request& r) { r.mutable_weights()->clear_num_heads(); },
       "weights.num_heads", "expected at least 1"},
      {"NanInData",
       [](Request& r) {
         v1::Tensor& bias =
             *r.mutable_weights()->mutable_output()->mutable_bias();
         bias = WithElement(bias, 4, kNan);
       },
       "weights.output.bias.data", "at index [4] is NaN"},
      {"NanInValues",
       [](Request& r) {
         v1::Tensor& weight =
             *r.mutable_weights()->mutable_key()->mutable_weight();
         weight = WithElement(weight, 5, kNan, true);
       },
       "weights.key.weight.values[5]", "NaN"},
      {"BeyondFloat",
       [](Request& r) {
         Sort sort;
         sort.dtype = v1::DATA_TYPE_FLOAT64;
         *r.mutable_weights() = Make(sort);
         v1::Tensor& weight =
             *r.mutable_weights()->mutable_query()->mutable_weight();
         weight = WithElement(weight, 0, 1e300);
       },
       "weights.query.weight.data", "range of FLOAT32"},
      {"QueryThatDoesNotFit",
       [](Request& r) {
         *r.mutable_query() = Floats({2, 3, 4});
       },
       "query.shape[2]", "is 4 but the set in weights projects query from"},
      {"HeadsThatDoNotFit", [](Request& r) { r.set_num_heads(3); }, "num_heads",
       "is 3 but the set in weights has 4"},
      {"RankFour",
       [](Request& r) {
         *r.mutable_query() = Floats({2, 4, 3, 6});
       },
       "query.shape", "has 4 axes"},
  };
}

class InlineWeightsRefusals : public ::testing::TestWithParam<Case> {};

TEST_P(InlineWeightsRefusals, NameFieldExpectedAndFound) {
  TestServer server;
  Request request = RequestFor({}, v1::DATA_TYPE_FLOAT32);
  *request.mutable_weights() = Make({});
  Reply reply;
  ASSERT_TRUE(server.client().Compute(request, &reply).ok());
  GetParam().change(request);
  const Refusal refusal(server.client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, GetParam().field) << refusal;
  EXPECT_THAT(refusal.description, HasSubstr(GetParam().description));
}

INSTANTIATE_TEST_SUITE_P(All, InlineWeightsRefusals,
                         ::testing::ValuesIn(Cases()),
                         [](const auto& tested) { return tested.param.name; });

// Where both refuse a set, they say the same.
TEST(InlineWeightsErrors, AreThoseOfSetWeights) {
  TestServer server;
  for (const Case& refused : Cases()) {
    Request request = RequestFor({}, v1::DATA_TYPE_FLOAT32);
    *request.mutable_weights() = Make({});
    refused.change(request);
    v1::SetWeightsRequest set;
    set.set_name("layer");
    *set.mutable_weights() = request.weights();
    v1::SetWeightsResponse stored;
    const Refusal by_set(server.client().Set(set, &stored));
    if (by_set.code == grpc::StatusCode::OK) continue;
    Reply reply;
    const Refusal by_request(server.client().Compute(request, &reply));
    EXPECT_EQ(by_request.code, by_set.code) << refused;
    EXPECT_EQ(by_request.field, by_set.field) << refused;
    EXPECT_EQ(by_request.description, by_set.description) << refused;
    EXPECT_EQ(by_request.reason, by_set.reason) << refused;
  }
}

}  // namespace
}  // namespace attention
