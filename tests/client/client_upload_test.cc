// Weights that go in and out by the client library, against a server of its
// own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "attention/client.h"
#include "tests/support/service_fixture.h"

namespace attention::client {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;
using Code = absl::StatusCode;

v1::SetWeightsRequest SmallRequest(const std::string& name = "layer") {
  v1::SetWeightsRequest request;
  request.set_name(name);
  *request.mutable_weights() = SmallWeightSet();
  return request;
}

// A tensor of 2.5 MiB and small ones.
v1::SetWeightsRequest LargeRequest() {
  v1::SetWeightsRequest request = SmallRequest();
  *request.mutable_weights() = SmallWeightSet(2, 1, 4, 2, 5);
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({int64_t{5} << 14, 8}, 1);
  return request;
}

v1::GetWeightsRequest LatestOf(const std::string& name) {
  v1::GetWeightsRequest request;
  request.mutable_weight_set()->set_name(name);
  return request;
}

struct Progress {
  std::vector<int64_t> bytes;
  std::vector<int64_t> totals;

  OnProgress Listener() {
    return [this](int64_t done, int64_t total) {
      bytes.push_back(done);
      totals.push_back(total);
    };
  }
};

class ClientUploadTest : public ::testing::Test {
 protected:
  size_t Versions() {
    const auto versions = client_.ListAllWeights({});
    EXPECT_TRUE(versions.ok()) << versions.status();
    return versions->size();
  }

  TestServer server_;
  Client client_{server_.target()};
};

TEST_F(ClientUploadTest, WhatGoesInComesOut) {
  for (auto request : {SmallRequest("small"), LargeRequest()}) {
    request.add_labels("prod");
    (*request.mutable_annotations())["by"] = "test";
    const auto uploaded = client_.UploadWeights(request);
    ASSERT_TRUE(uploaded.ok()) << uploaded.status();
    EXPECT_EQ(uploaded->version().version(), 1);
    const auto stored = client_.GetWeights(LatestOf(request.name()));
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(stored->summary.version().sha256(), uploaded->version().sha256());
    EXPECT_THAT(stored->summary.labels(), ::testing::ElementsAre("prod"));
    EXPECT_EQ(stored->summary.annotations().at("by"), "test");
    v1::WeightSet expected = request.weights();
    expected.set_num_kv_heads(expected.num_heads());
    EXPECT_EQ(stored->weights.SerializeAsString(),
              expected.SerializeAsString());
  }
}

TEST_F(ClientUploadTest, TensorsOfValuesGoInAsTheirDtype) {
  v1::SetWeightsRequest request = SmallRequest();
  v1::WeightSet& weights = *request.mutable_weights();
  weights.clear_output();
  for (v1::Projection* projection :
       {weights.mutable_query(), weights.mutable_key(),
        weights.mutable_value()}) {
    *projection->mutable_weight() = TensorOf(v1::DATA_TYPE_BFLOAT16, {2, 2},
                                             {1, 2, 3, 4}, /*as_values=*/true);
    *projection->mutable_bias() = TensorOf(v1::DATA_TYPE_BFLOAT16, {2}, {5, 6});
  }
  const auto uploaded = client_.UploadWeights(request);
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  request.set_name("set");
  const auto set = client_.SetWeights(request);
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ(uploaded->version().sha256(), set->version().sha256());
}

TEST_F(ClientUploadTest, ProgressGoesUpToTheTotalBothWays) {
  const auto request = LargeRequest();
  Progress in;
  ASSERT_TRUE(client_.UploadWeights(request, {}, in.Listener()).ok());
  Progress out;
  const auto stored = client_.GetWeights(LatestOf("layer"), {}, out.Listener());
  ASSERT_TRUE(stored.ok()) << stored.status();
  for (const Progress& progress : {in, out}) {
    // Three chunks of the large tensor, and one of each of the others.
    ASSERT_THAT(progress.bytes, SizeIs(10));
    EXPECT_EQ(progress.bytes.front(), int64_t{1} << 20);
    EXPECT_TRUE(std::is_sorted(progress.bytes.begin(), progress.bytes.end()));
    EXPECT_THAT(progress.totals, Each(progress.bytes.back()));
    EXPECT_EQ(progress.bytes.back(), stored->summary.tensor_bytes());
  }
}

TEST_F(ClientUploadTest, TensorsCanComeFromElsewhere) {
  const auto request = LargeRequest();
  const auto expected = client_.UploadWeights(request);
  ASSERT_TRUE(expected.ok());
  v1::UploadWeightsRequest::Header header;
  header.set_name("elsewhere");
  *header.mutable_weights() = request.weights();
  for (v1::Projection* projection :
       {header.mutable_weights()->mutable_query(),
        header.mutable_weights()->mutable_key(),
        header.mutable_weights()->mutable_value(),
        header.mutable_weights()->mutable_output()}) {
    projection->mutable_weight()->clear_data();
    projection->mutable_bias()->clear_data();
  }
  const auto source = [&](const std::string& tensor, int64_t offset,
                          absl::Span<char> data) {
    const v1::WeightSet& weights = request.weights();
    const v1::Projection& projection = tensor[0] == 'q'   ? weights.query()
                                       : tensor[0] == 'k' ? weights.key()
                                       : tensor[0] == 'v' ? weights.value()
                                                          : weights.output();
    const std::string& bytes = tensor.ends_with("weight")
                                   ? projection.weight().data()
                                   : projection.bias().data();
    std::memcpy(data.data(), bytes.data() + offset, data.size());
    return absl::OkStatus();
  };
  const auto uploaded = client_.UploadWeights(header, source);
  ASSERT_TRUE(uploaded.ok()) << uploaded.status();
  EXPECT_EQ(uploaded->version().sha256(), expected->version().sha256());
}

TEST_F(ClientUploadTest, ErrorOfTheSourceIsReturnedAndLeavesNothing) {
  v1::UploadWeightsRequest::Header header;
  header.set_name("layer");
  v1::WeightSet& weights = *header.mutable_weights();
  weights = LargeRequest().weights();
  for (v1::Projection* projection :
       {weights.mutable_query(), weights.mutable_key(), weights.mutable_value(),
        weights.mutable_output()}) {
    projection->mutable_weight()->clear_data();
    projection->mutable_bias()->clear_data();
  }
  const auto uploaded = client_.UploadWeights(
      header,
      [](const std::string& tensor, int64_t offset, absl::Span<char> data) {
        std::memset(data.data(), 0, data.size());
        return tensor == "query.weight" && offset > 0
                   ? absl::UnavailableError("the disk is gone")
                   : absl::OkStatus();
      });
  EXPECT_EQ(uploaded.status(), absl::UnavailableError("the disk is gone"));
  EXPECT_EQ(Versions(), 0U);
  EXPECT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
  EXPECT_EQ(server_.server().bytes_in_flight(), 0);
}

TEST_F(ClientUploadTest, RefusalOfTheServerComesWithItsFields) {
  v1::SetWeightsRequest request = LargeRequest();
  ASSERT_TRUE(client_.UploadWeights(request).ok());
  request.set_expected_version(0);
  absl::Status status = client_.UploadWeights(request).status();
  EXPECT_EQ(status.code(), Code::kAborted) << status;
  ASSERT_THAT(FieldViolations(status), SizeIs(1));
  EXPECT_EQ(FieldViolations(status)[0].field, "expected_version");
  request.clear_expected_version();
  request.mutable_weights()->set_num_heads(3);
  status = client_.UploadWeights(request).status();
  ASSERT_THAT(FieldViolations(status), SizeIs(1)) << status;
  EXPECT_EQ(Versions(), 1U);
}

TEST_F(ClientUploadTest, WhatContradictsItselfIsNotSent) {
  v1::SetWeightsRequest request = SmallRequest();
  request.mutable_weights()->mutable_key()->mutable_weight()->set_shape(0, 7);
  absl::Status status = client_.UploadWeights(request).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("weights.key.weight.data"));
  request = SmallRequest();
  request.mutable_initializer()->set_seed(1);
  status = client_.UploadWeights(request).status();
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("SetWeights"));
  v1::UploadWeightsRequest::Header header;
  *header.mutable_weights() = SmallWeightSet();
  v1::Tensor& weight =
      *header.mutable_weights()->mutable_query()->mutable_weight();
  for (const int64_t axis : {int64_t{-1}, int64_t{1} << 62}) {
    weight.set_shape(0, axis);
    status = client_.UploadWeights(header, nullptr).status();
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("weights.query.weight.shape"));
  }
}

TEST_F(ClientUploadTest, DeadlineEndsAnUpload) {
  const absl::Status status =
      client_
          .UploadWeights(
              LargeRequest(), Within(std::chrono::milliseconds(100)),
              [](int64_t, int64_t) {
                std::this_thread::sleep_for(std::chrono::milliseconds(60));
              })
          .status();
  EXPECT_EQ(status.code(), Code::kDeadlineExceeded) << status;
  EXPECT_EQ(Versions(), 0U);
}

TEST(ClientUpload, SetThatIsTooLargeForAMessageIsPointedToUploadWeights) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = int64_t{2} << 20;
  TestServer server(config);
  const Client client(server.target());
  const auto request = LargeRequest();
  // Refused by the server; and by its gRPC, 64 MiB further up.
  absl::Status status = client.SetWeights(request).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("--max-message-bytes"),
                    HasSubstr("UploadWeights takes")));
  v1::SetWeightsRequest larger = request;
  larger.mutable_weights()->mutable_key()->mutable_weight()->set_data(
      std::string(size_t{70} << 20, '\0'));
  status = client.SetWeights(larger).status();
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr("UploadWeights takes"));
  EXPECT_TRUE(client.UploadWeights(request).ok());
  // Another refusal is not.
  v1::SetWeightsRequest nameless = SmallRequest("");
  EXPECT_THAT(std::string(client.SetWeights(nameless).status().message()),
              Not(HasSubstr("UploadWeights")));
}

}  // namespace
}  // namespace attention::client
