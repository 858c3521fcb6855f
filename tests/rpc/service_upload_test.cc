// UploadWeights over an in-process channel: what is stored.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/upload_fixture.h"

namespace attention {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;
using Code = grpc::StatusCode;

// One tensor of 2.5 MiB and small ones.
v1::SetWeightsRequest LargeRequest() {
  v1::SetWeightsRequest request = SmallRequest();
  *request.mutable_weights() = SmallWeightSet(2, 1, 4, 2, 5);
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({int64_t{5} << 14, 8}, 1);
  return request;
}

TEST_F(ServiceUploadTest, UploadedSetIsWhatSetWeightsStores) {
  auto request = SmallRequest();
  request.add_labels("prod");
  (*request.mutable_annotations())["by"] = "test";
  int64_t version = 0;
  for (const v1::DataType dtype :
       {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64, v1::DATA_TYPE_FLOAT16,
        v1::DATA_TYPE_BFLOAT16}) {
    for (const v1::Layout layout : {v1::LAYOUT_IN_OUT, v1::LAYOUT_OUT_IN}) {
      v1::WeightSet& weights = *request.mutable_weights();
      weights.set_layout(layout);
      for (v1::Projection* projection :
           {weights.mutable_query(), weights.mutable_key(),
            weights.mutable_value()}) {
        *projection->mutable_weight() = TensorOf(dtype, {2, 2}, {1, 2, -3, 4});
        *projection->mutable_bias() = TensorOf(dtype, {2}, {0.5, -1});
      }
      weights.clear_output();
      for (const int64_t chunk_bytes : {8, 16, 1 << 20}) {
        const auto stored = Upload(MessagesOf(request, chunk_bytes));
        EXPECT_EQ(stored.name(), "layer");
        EXPECT_EQ(stored.version(), ++version);
        EXPECT_EQ(stored.sha256(), Sha256Of(request));
      }
    }
  }
  v1::ListWeightsResponse listed;
  ASSERT_TRUE(server_.client().List({}, &listed).ok());
  const v1::WeightSetSummary& last = *listed.versions().rbegin();
  EXPECT_THAT(last.labels(), ElementsAre("prod"));
  EXPECT_EQ(last.annotations().at("by"), "test");
}

TEST_F(ServiceUploadTest, WhatIsReadBackIsWhatWasSent) {
  auto request = LargeRequest();
  request.mutable_weights()->set_num_kv_heads(2);  // as it is told in answers
  const Messages messages = MessagesOf(request, int64_t{1} << 20);
  ASSERT_THAT(messages, SizeIs(1 + 3 + 7 + 1));
  Upload(messages);
  v1::GetWeightsRequest get;
  get.mutable_weight_set()->set_name("layer");
  std::vector<v1::GetWeightsResponse> parts;
  ASSERT_TRUE(server_.client().Get(get, &parts).ok());
  ASSERT_EQ(parts.size(), messages.size());
  EXPECT_EQ(parts.front().header().weights().SerializeAsString(),
            messages.front().header().weights().SerializeAsString());
  for (size_t i = 1; i + 1 < parts.size(); ++i) {
    EXPECT_EQ(parts[i].chunk().SerializeAsString(),
              messages[i].chunk().SerializeAsString());
  }
}

TEST_F(ServiceUploadTest, ComputesTheSameBitsAsASetThatWasSet) {
  v1::SetWeightsRequest request = SmallRequest("set");
  v1::SetWeightsResponse reply;
  ASSERT_TRUE(server_.client().Set(request, &reply).ok());
  request.set_name("uploaded");
  Upload(MessagesOf(request));
  std::vector<std::string> outputs;
  for (const char* name : {"set", "uploaded"}) {
    v1::ComputeAttentionRequest compute;
    compute.mutable_weight_set()->set_name(name);
    *compute.mutable_query() = Floats({5, 4});
    v1::ComputeAttentionResponse computed;
    ASSERT_TRUE(server_.client().Compute(compute, &computed).ok());
    outputs.push_back(computed.output().data());
  }
  EXPECT_EQ(outputs[0], outputs[1]);
}

TEST_F(ServiceUploadTest, NothingIsSeenBeforeTheClientHasEnded) {
  TestUpload upload(server_.server().InProcessChannel());
  for (const auto& message : MessagesOf(SmallRequest())) {
    ASSERT_TRUE(upload.Send(message));
    EXPECT_EQ(Versions(), 0);
  }
  EXPECT_TRUE(upload.Finish().ok());
  EXPECT_EQ(Versions(), 1);
}

TEST_F(ServiceUploadTest, CompareAndSetIsRefusedBeforeTheChunksAndAtTheEnd) {
  v1::SetWeightsRequest request = SmallRequest();
  request.set_expected_version(1);
  const Messages stale = MessagesOf(request);
  {
    TestUpload upload(server_.server().InProcessChannel());
    upload.Send(stale.front());
    const Refusal refusal(upload.Wait());
    EXPECT_EQ(refusal.code, Code::ABORTED) << refusal;
    EXPECT_EQ(refusal.field, "expected_version");
  }
  // One that was right when the upload began, and lost the race.
  request.set_expected_version(0);
  const Messages messages = MessagesOf(request);
  TestUpload upload(server_.server().InProcessChannel());
  for (const auto& message : messages) ASSERT_TRUE(upload.Send(message));
  v1::SetWeightsResponse reply;
  ASSERT_TRUE(server_.client().Set(SmallRequest("layer", 7), &reply).ok());
  const Refusal refusal(upload.Finish());
  EXPECT_EQ(refusal.code, Code::ABORTED) << refusal;
  EXPECT_EQ(refusal.field, "expected_version");
  EXPECT_EQ(Versions(), 1);
  EXPECT_EQ(Upload(stale).version(), 2);
}

TEST_F(ServiceUploadTest, RepetitionOfAnIdempotencyKeyAppendsNothing) {
  v1::SetWeightsRequest request = SmallRequest();
  request.set_idempotency_key("key");
  request.set_expected_version(0);
  const Messages messages = MessagesOf(request);
  EXPECT_EQ(Upload(messages).version(), 1);
  EXPECT_EQ(Upload(messages).version(), 1);
  // A repetition by the other method is one, too.
  v1::SetWeightsResponse reply;
  ASSERT_TRUE(server_.client().Set(request, &reply).ok());
  EXPECT_EQ(reply.version().version(), 1);
  EXPECT_EQ(Versions(), 1);
  v1::SetWeightsRequest other = SmallRequest("layer", 9);
  other.set_idempotency_key("key");
  const Refusal refusal = Refused(MessagesOf(other));
  EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "idempotency_key");
}

TEST_F(ServiceUploadTest, LogHasOneLineWithTheBytesThatCame) {
  const Messages messages = MessagesOf(SmallRequest());
  size_t bytes = 0;
  for (const auto& message : messages) bytes += message.ByteSizeLong();
  LogLines log;
  Upload(messages);
  ASSERT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
  EXPECT_THAT(log.With("UploadWeights"), SizeIs(1));
  EXPECT_THAT(log.With("code=OK request_bytes=" + std::to_string(bytes)),
              SizeIs(1));
}

}  // namespace
}  // namespace attention
