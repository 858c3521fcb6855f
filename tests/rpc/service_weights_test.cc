// Weight sets over an in-process channel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

class ServiceWeightsTest : public ::testing::Test {
 protected:
  static v1::SetWeightsRequest SetRequest(const std::string& name,
                                          double phase = 0) {
    v1::SetWeightsRequest request;
    request.set_name(name);
    *request.mutable_weights() = SmallWeightSet();
    *request.mutable_weights()->mutable_query()->mutable_weight() =
        Floats({4, 6}, phase);
    return request;
  }

  v1::WeightSetVersion Set(const v1::SetWeightsRequest& request) {
    v1::SetWeightsResponse reply;
    const grpc::Status status = server_.client().Set(request, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.version();
  }
  Refusal SetRefused(const v1::SetWeightsRequest& request) {
    v1::SetWeightsResponse reply;
    return Refusal(server_.client().Set(request, &reply));
  }

  // Version of "layer" that `name` or label resolve to in a computation.
  int64_t Used(const std::string& label = "") {
    v1::ComputeAttentionRequest request;
    request.mutable_weight_set()->set_name("layer");
    if (!label.empty()) request.mutable_weight_set()->set_label(label);
    *request.mutable_query() = Floats({2, 4});
    v1::ComputeAttentionResponse reply;
    const grpc::Status status = server_.client().Compute(request, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.weight_set_used().version();
  }

  v1::ListWeightsResponse List(const v1::ListWeightsRequest& request) {
    v1::ListWeightsResponse reply;
    const grpc::Status status = server_.client().List(request, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply;
  }

  TestServer server_;
};

TEST_F(ServiceWeightsTest, VersionsCountUpFromOne) {
  const auto first = Set(SetRequest("layer", 1));
  const auto second = Set(SetRequest("layer", 2));
  EXPECT_EQ(first.name(), "layer");
  EXPECT_EQ(first.version(), 1);
  EXPECT_EQ(second.version(), 2);
  EXPECT_THAT(first.sha256(), SizeIs(64));
  EXPECT_NE(first.sha256(), second.sha256());
  EXPECT_EQ(Used(), 2);
}

TEST_F(ServiceWeightsTest, CompareAndSetThatLostAnswersAborted) {
  auto request = SetRequest("layer", 1);
  request.set_expected_version(0);
  Set(request);
  const Refusal refusal = SetRefused(request);
  EXPECT_EQ(refusal.code, grpc::StatusCode::ABORTED) << refusal;
  EXPECT_EQ(refusal.field, "expected_version");
  EXPECT_THAT(refusal.description, HasSubstr("is 0"));
  request.set_expected_version(1);
  EXPECT_EQ(Set(request).version(), 2);
}

TEST_F(ServiceWeightsTest, RepetitionOfAnIdempotencyKeyAppendsNothing) {
  auto request = SetRequest("layer", 1);
  request.set_idempotency_key("key");
  const auto first = Set(request);
  EXPECT_EQ(Set(request).version(), first.version());
  EXPECT_EQ(Used(), 1);
  auto other = SetRequest("layer", 2);
  other.set_idempotency_key("key");
  const Refusal refusal = SetRefused(other);
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "idempotency_key");
}

TEST_F(ServiceWeightsTest, LabelsMoveWithTheVersionOrAlone) {
  auto request = SetRequest("layer", 1);
  request.add_labels("prod");
  Set(request);
  Set(SetRequest("layer", 2));
  EXPECT_EQ(Used("prod"), 1);

  v1::SetLabelRequest move;
  move.set_name("layer");
  move.set_label("prod");
  move.set_version(2);
  move.set_expected_version(2);
  v1::SetLabelResponse moved;
  const Refusal lost(server_.client().SetLabel(move, &moved));
  EXPECT_EQ(lost.code, grpc::StatusCode::ABORTED) << lost;
  move.set_expected_version(1);
  ASSERT_TRUE(server_.client().SetLabel(move, &moved).ok());
  EXPECT_EQ(moved.version().version(), 2);
  EXPECT_EQ(Used("prod"), 2);

  move.clear_version();
  move.clear_expected_version();
  moved.Clear();
  ASSERT_TRUE(server_.client().SetLabel(move, &moved).ok());
  EXPECT_FALSE(moved.has_version());
  move.set_version(7);
  const Refusal unknown(server_.client().SetLabel(move, &moved));
  EXPECT_EQ(unknown.code, grpc::StatusCode::NOT_FOUND) << unknown;
  EXPECT_EQ(unknown.field, "version");
}

TEST_F(ServiceWeightsTest, DeletedVersionIsGoneAndItsNumberIsNotReused) {
  auto request = SetRequest("layer", 1);
  request.add_labels("prod");
  Set(request);
  Set(SetRequest("layer", 2));
  v1::DeleteWeightsRequest one;
  one.set_name("layer");
  one.set_version(1);
  v1::DeleteWeightsResponse reply;
  const Refusal labelled(server_.client().Delete(one, &reply));
  EXPECT_EQ(labelled.code, grpc::StatusCode::FAILED_PRECONDITION) << labelled;
  one.set_version(2);
  ASSERT_TRUE(server_.client().Delete(one, &reply).ok());
  EXPECT_EQ(reply.versions_deleted(), 1);
  EXPECT_EQ(Used(), 1);

  v1::DeleteWeightsRequest all;
  all.set_name("layer");
  all.set_expected_version(9);
  const Refusal lost(server_.client().Delete(all, &reply));
  EXPECT_EQ(lost.code, grpc::StatusCode::ABORTED) << lost;
  all.clear_expected_version();
  ASSERT_TRUE(server_.client().Delete(all, &reply).ok());
  EXPECT_EQ(reply.versions_deleted(), 1);
  EXPECT_EQ(Set(SetRequest("layer", 3)).version(), 3);
  all.set_name("other");
  const Refusal unknown(server_.client().Delete(all, &reply));
  EXPECT_EQ(unknown.code, grpc::StatusCode::NOT_FOUND) << unknown;
}

TEST_F(ServiceWeightsTest, StreamIsHeaderChunksAndChecksum) {
  // A weight of 2.5 chunks; the others are small.
  constexpr int64_t kChunk = int64_t{1} << 20;
  constexpr int64_t kWidth = 5 * kChunk / 2 / int64_t{sizeof(float)} / 8;
  v1::SetWeightsRequest request;
  request.set_name("large");
  *request.mutable_weights() = SmallWeightSet(2, 1, 4, 2, 5);
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({kWidth, 8}, 1);
  request.add_labels("prod");
  (*request.mutable_annotations())["by"] = "test";
  const auto version = Set(request);

  v1::GetWeightsRequest get;
  get.mutable_weight_set()->set_name("large");
  std::vector<v1::GetWeightsResponse> parts;
  const grpc::Status status = server_.client().Get(get, &parts);
  ASSERT_TRUE(status.ok()) << Refusal(status);
  ASSERT_GE(parts.size(), 3U);
  const auto& header = parts.front().header();
  EXPECT_EQ(header.summary().version().sha256(), version.sha256());
  EXPECT_THAT(header.summary().labels(), ElementsAre("prod"));
  EXPECT_EQ(header.summary().annotations().at("by"), "test");
  EXPECT_EQ(header.summary().head_dim(), 4);
  EXPECT_EQ(header.summary().value_dim(), 2);
  EXPECT_EQ(header.summary().dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_GT(header.summary().create_time().seconds(), 0);
  EXPECT_EQ(parts.back().sha256(), version.sha256());

  std::vector<std::string> order;
  std::map<std::string, std::string> data;
  std::map<std::string, int> chunks;
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    ASSERT_TRUE(parts[i].has_chunk());
    const auto& chunk = parts[i].chunk();
    if (order.empty() || order.back() != chunk.tensor()) {
      order.push_back(chunk.tensor());
    }
    EXPECT_LE(static_cast<int64_t>(chunk.data().size()), kChunk);
    EXPECT_EQ(static_cast<size_t>(chunk.offset()), data[chunk.tensor()].size());
    data[chunk.tensor()] += chunk.data();
    ++chunks[chunk.tensor()];
  }
  EXPECT_THAT(order, ElementsAre("query.weight", "query.bias", "key.weight",
                                 "key.bias", "value.weight", "value.bias",
                                 "output.weight", "output.bias"));
  EXPECT_EQ(chunks["query.weight"], 3);
  EXPECT_EQ(data["query.weight"], request.weights().query().weight().data());
  EXPECT_EQ(data["output.bias"], request.weights().output().bias().data());
  int64_t bytes = 0;
  for (const auto& [name, part] : data) {
    bytes += static_cast<int64_t>(part.size());
  }
  EXPECT_EQ(header.summary().tensor_bytes(), bytes);

  // What comes back can be set again and is the same.
  v1::WeightSet again = header.weights();
  again.mutable_query()->mutable_weight()->set_data(data["query.weight"]);
  again.mutable_query()->mutable_bias()->set_data(data["query.bias"]);
  again.mutable_key()->mutable_weight()->set_data(data["key.weight"]);
  again.mutable_key()->mutable_bias()->set_data(data["key.bias"]);
  again.mutable_value()->mutable_weight()->set_data(data["value.weight"]);
  again.mutable_value()->mutable_bias()->set_data(data["value.bias"]);
  again.mutable_output()->mutable_weight()->set_data(data["output.weight"]);
  again.mutable_output()->mutable_bias()->set_data(data["output.bias"]);
  *request.mutable_weights() = again;
  EXPECT_EQ(Set(request).sha256(), version.sha256());
}

TEST_F(ServiceWeightsTest, StreamThatIsCancelledEnds) {
  v1::SetWeightsRequest request;
  request.set_name("large");
  *request.mutable_weights() = SmallWeightSet(1, 1, 1, 1, 1);
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({int64_t{12} << 18, 1});  // 12 chunks
  Set(request);
  v1::GetWeightsRequest get;
  get.mutable_weight_set()->set_name("large");
  std::vector<v1::GetWeightsResponse> parts;
  const grpc::Status status =
      server_.client().Get(get, &parts, /*stop_after=*/1);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
}

TEST_F(ServiceWeightsTest, UnknownWeightsAreNotStreamed) {
  v1::GetWeightsRequest get;
  std::vector<v1::GetWeightsResponse> parts;
  const Refusal nothing(server_.client().Get(get, &parts));
  EXPECT_EQ(nothing.code, grpc::StatusCode::INVALID_ARGUMENT) << nothing;
  EXPECT_EQ(nothing.field, "weight_set");
  get.mutable_weight_set()->set_name("none");
  const Refusal unknown(server_.client().Get(get, &parts));
  EXPECT_EQ(unknown.code, grpc::StatusCode::NOT_FOUND) << unknown;
  EXPECT_EQ(unknown.field, "weight_set.name");
  EXPECT_THAT(parts, IsEmpty());
}

TEST_F(ServiceWeightsTest, PagesCoverEachVersionOnce) {
  for (int i = 0; i < 5; ++i) Set(SetRequest(i % 2 == 0 ? "a" : "b", i));
  v1::ListWeightsRequest request;
  request.set_page_size(2);
  std::vector<std::string> seen;
  do {
    const auto page = List(request);
    EXPECT_LE(page.versions_size(), 2);
    for (const auto& summary : page.versions()) {
      seen.push_back(summary.version().name() +
                     std::to_string(summary.version().version()));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(seen, ElementsAre("a1", "a2", "a3", "b1", "b2"));
  request.set_latest_only(true);
  request.set_page_size(0);
  EXPECT_EQ(List(request).versions_size(), 2);
  request.set_page_size(-1);
  v1::ListWeightsResponse reply;
  const Refusal refusal(server_.client().List(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "page_size");
}

TEST_F(ServiceWeightsTest, PageOfLargeAnnotationsIsCut) {
  // Each version carries 60 KiB of annotations; 100 of them are more than a
  // client with gRPC's default limit could read.
  constexpr int kVersions = 100;
  auto request = SetRequest("layer");
  for (int i = 0; i < 60; ++i) {
    (*request.mutable_annotations())[std::to_string(i)] =
        std::string(1024, 'x');
  }
  for (int i = 0; i < kVersions; ++i) Set(request);
  v1::ListWeightsRequest list;
  list.set_page_size(1000);
  int seen = 0;
  do {
    const auto page = List(list);
    EXPECT_LE(page.ByteSizeLong(), size_t{4} << 20);
    EXPECT_GT(page.versions_size(), 0);
    seen += page.versions_size();
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  EXPECT_EQ(seen, kVersions);
}

TEST_F(ServiceWeightsTest, InitializerDrawsTheChaptersWeights) {
  v1::SetWeightsRequest request;
  request.set_name("chapter");
  auto& initializer = *request.mutable_initializer();
  initializer.set_distribution(v1::Initializer::DISTRIBUTION_UNIFORM);
  initializer.set_seed(123);
  initializer.set_layout(v1::LAYOUT_IN_OUT);
  initializer.set_num_heads(1);
  initializer.set_query_width(3);
  initializer.set_head_dim(2);
  Set(request);
  v1::GetWeightsRequest get;
  get.mutable_weight_set()->set_name("chapter");
  std::vector<v1::GetWeightsResponse> parts;
  ASSERT_TRUE(server_.client().Get(get, &parts).ok());
  ASSERT_THAT(parts, SizeIs(5));
  v1::Tensor query = parts.front().header().weights().query().weight();
  query.set_data(parts[1].chunk().data());
  // torch.manual_seed(123); torch.rand(3, 2), as float32.
  std::vector<double> expected;
  for (const float element : {0.296111941F, 0.516562283F, 0.251670718F,
                              0.688556790F, 0.0739724636F, 0.866521955F}) {
    expected.push_back(element);
  }
  EXPECT_EQ(Elements(query), expected);
}

struct Case {
  std::string name;
  std::function<void(v1::SetWeightsRequest&)> change;
  std::string field;
  std::string description;
};

std::ostream& operator<<(std::ostream& out, const Case& refused) {
  return out << refused.name;
}

v1::Initializer SmallInitializer() {
  v1::Initializer initializer;
  initializer.set_distribution(v1::Initializer::DISTRIBUTION_LINEAR);
  initializer.set_layout(v1::LAYOUT_OUT_IN);
  initializer.set_num_heads(2);
  initializer.set_query_width(3);
  initializer.set_head_dim(2);
  return initializer;
}

std::vector<Case> Cases() {
  using Request = v1::SetWeightsRequest;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  return {
      {"NoName", [](Request& r) { r.clear_name(); }, "name", ""},
      {"BadName", [](Request& r) { r.set_name("-x"); }, "name", "\"-x\""},
      {"NoSource", [](Request& r) { r.clear_source(); }, "weights",
       "is required, or initializer"},
      {"NoLayout", [](Request& r) { r.mutable_weights()->clear_layout(); },
       "weights.layout", "is 0; expected LAYOUT_IN_OUT"},
      {"NoHeads", [](Request& r) { r.mutable_weights()->clear_num_heads(); },
       "weights.num_heads", "is 0"},
      {"KvHeads", [](Request& r) { r.mutable_weights()->set_num_kv_heads(3); },
       "weights.num_kv_heads", "is 3"},
      {"NoKey", [](Request& r) { r.mutable_weights()->clear_key(); },
       "weights.key", "is required"},
      {"NoWeight",
       [](Request& r) { r.mutable_weights()->mutable_value()->clear_weight(); },
       "weights.value.weight", "is required"},
      {"TwoDtypes",
       [](Request& r) {
         auto* weight = r.mutable_weights()->mutable_output()->mutable_weight();
         *weight = TensorOf(v1::DATA_TYPE_FLOAT64, ShapeOf(*weight),
                            Elements(*weight));
       },
       "weights.output.weight.dtype",
       "is FLOAT64 but weights.query.weight.dtype is FLOAT32"},
      {"BoolWeight",
       [](Request& r) {
         *r.mutable_weights()->mutable_query()->mutable_weight() =
             TensorOf(v1::DATA_TYPE_BOOL, {1, 1}, {1});
       },
       "weights.query.weight.dtype", "is BOOL"},
      {"KeyOfAnotherHeadDim",
       [](Request& r) {
         auto& key = *r.mutable_weights()->mutable_key();
         *key.mutable_weight() = Floats({4, 4});
         *key.mutable_bias() = Floats({4});
       },
       "weights.key.weight.shape[1]", "is 4"},
      {"BiasOfAnotherSize",
       [](Request& r) {
         *r.mutable_weights()->mutable_key()->mutable_bias() = Floats({5});
       },
       "weights.key.bias.shape[0]", "is 5"},
      {"NanInWeight",
       [nan](Request& r) {
         auto* bias = r.mutable_weights()->mutable_value()->mutable_bias();
         std::vector<double> elements = Elements(*bias);
         elements[1] = nan;
         *bias = TensorOf(v1::DATA_TYPE_FLOAT32, ShapeOf(*bias), elements);
       },
       "weights.value.bias.data", "NaN"},
      {"NanInValues",
       [nan](Request& r) {
         auto* bias = r.mutable_weights()->mutable_value()->mutable_bias();
         std::vector<double> elements = Elements(*bias);
         elements[1] = nan;
         *bias =
             TensorOf(v1::DATA_TYPE_FLOAT32, ShapeOf(*bias), elements, true);
       },
       "weights.value.bias.values[1]", "NaN"},
      {"NegativeExpectedVersion",
       [](Request& r) { r.set_expected_version(-1); }, "expected_version",
       "is -1"},
      {"BadLabel", [](Request& r) { r.add_labels("1x"); }, "labels[0]",
       "\"1x\""},
      {"LongIdempotencyKey",
       [](Request& r) { r.set_idempotency_key(std::string(129, 'x')); },
       "idempotency_key", "has 129 bytes"},
      {"InitializerWithoutDistribution",
       [](Request& r) {
         *r.mutable_initializer() = SmallInitializer();
         r.mutable_initializer()->clear_distribution();
       },
       "initializer.distribution", "is 0; expected DISTRIBUTION_UNIFORM"},
      {"InitializerWithoutLayout",
       [](Request& r) {
         *r.mutable_initializer() = SmallInitializer();
         r.mutable_initializer()->clear_layout();
       },
       "initializer.layout", "is 0"},
      {"InitializerOutputBiasOfNothing",
       [](Request& r) {
         *r.mutable_initializer() = SmallInitializer();
         r.mutable_initializer()->set_output_bias(true);
       },
       "initializer.output_bias", "is set without output_width"},
      {"InitializerOutputWidthZero",
       [](Request& r) {
         *r.mutable_initializer() = SmallInitializer();
         r.mutable_initializer()->set_output_width(0);
       },
       "initializer.output_width", "is 0"},
      {"InitializerHeadDimZero",
       [](Request& r) {
         *r.mutable_initializer() = SmallInitializer();
         r.mutable_initializer()->clear_head_dim();
       },
       "initializer.head_dim", "is 0"},
  };
}

class ServiceWeightsRefusalsTest : public ServiceWeightsTest,
                                   public ::testing::WithParamInterface<Case> {
};

TEST_P(ServiceWeightsRefusalsTest, NamesFieldExpectedAndFound) {
  auto request = SetRequest("layer");
  GetParam().change(request);
  const Refusal refusal = SetRefused(request);
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, GetParam().field) << refusal;
  EXPECT_THAT(refusal.description, HasSubstr(GetParam().description));
  EXPECT_EQ(List({}).versions_size(), 0);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& tested) {
  return tested.param.name;
}

INSTANTIATE_TEST_SUITE_P(All, ServiceWeightsRefusalsTest,
                         ::testing::ValuesIn(Cases()), NameOf);

TEST_F(ServiceWeightsTest, InitializerBeyondTheLimitNamesTheFlag) {
  v1::SetWeightsRequest request;
  request.set_name("huge");
  *request.mutable_initializer() = SmallInitializer();
  request.mutable_initializer()->set_query_width(1 << 20);
  request.mutable_initializer()->set_head_dim(1 << 20);
  const Refusal refusal = SetRefused(request);
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.field, "initializer");
  EXPECT_THAT(refusal.message, HasSubstr("--max-message-bytes"));
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-message-bytes");
  EXPECT_FALSE(refusal.retry);
}

TEST_F(ServiceWeightsTest, WeightsGivenAsValuesAreRoundedToTheirDtype) {
  auto as_data = SetRequest("data");
  auto as_values = SetRequest("values");
  for (v1::Projection* projection :
       {as_values.mutable_weights()->mutable_query(),
        as_values.mutable_weights()->mutable_output()}) {
    v1::Tensor& weight = *projection->mutable_weight();
    weight = TensorOf(v1::DATA_TYPE_FLOAT32, ShapeOf(weight), Elements(weight),
                      true);
  }
  EXPECT_EQ(Set(as_data).sha256(), Set(as_values).sha256());
}

}  // namespace
}  // namespace attention
