// UploadWeights over an in-process channel: what is stored, what is refused,
// and that whatever breaks off leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "tests/service_fixture.h"

namespace attention {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Code = grpc::StatusCode;
using Messages = std::vector<v1::UploadWeightsRequest>;

// Small tensors in chunks of two elements.
constexpr int64_t kSmallChunk = 2 * sizeof(float);

v1::SetWeightsRequest SmallRequest(const std::string& name = "layer",
                                   double phase = 0) {
  v1::SetWeightsRequest request;
  request.set_name(name);
  *request.mutable_weights() = SmallWeightSet();
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({4, 6}, phase);
  return request;
}

// One tensor of 2.5 MiB and small ones.
v1::SetWeightsRequest LargeRequest() {
  v1::SetWeightsRequest request = SmallRequest();
  *request.mutable_weights() = SmallWeightSet(2, 1, 4, 2, 5);
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({int64_t{5} << 14, 8}, 1);
  return request;
}

class ServiceUploadTest : public ::testing::Test {
 protected:
  // What SetWeights says of the same contents, on another server.
  static std::string Sha256Of(const v1::SetWeightsRequest& request) {
    TestServer other;
    v1::SetWeightsRequest plain;
    plain.set_name("other");
    *plain.mutable_weights() = request.weights();
    v1::SetWeightsResponse reply;
    const grpc::Status status = other.client().Set(plain, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.version().sha256();
  }

  static Messages MessagesOf(const v1::SetWeightsRequest& request,
                             int64_t chunk_bytes = kSmallChunk) {
    return UploadOf(request, Sha256Of(request), chunk_bytes);
  }

  grpc::Status Send(const Messages& messages,
                    v1::UploadWeightsResponse* reply = nullptr) {
    TestUpload upload(server_.server().InProcessChannel());
    for (const auto& message : messages) {
      if (!upload.Send(message)) break;
    }
    grpc::Status status = upload.Finish();
    if (reply != nullptr) *reply = upload.reply();
    return status;
  }

  v1::WeightSetVersion Upload(const Messages& messages) {
    v1::UploadWeightsResponse reply;
    const grpc::Status status = Send(messages, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.version();
  }

  Refusal Refused(const Messages& messages) { return Refusal(Send(messages)); }

  int Versions() {
    v1::ListWeightsResponse reply;
    EXPECT_TRUE(server_.client().List({}, &reply).ok());
    return reply.versions_size();
  }

  // That no version, no call and no byte is there.
  void ExpectNothingLeft() {
    EXPECT_EQ(Versions(), 0);
    EXPECT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
    EXPECT_EQ(server_.server().bytes_in_flight(), 0);
  }

  TestServer server_;
};

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

TEST_F(ServiceUploadTest, UploadThatEndsEarlyLeavesNothing) {
  const Messages messages = MessagesOf(SmallRequest(), 16);
  for (size_t sent = 0; sent < messages.size(); ++sent) {
    const Refusal refusal =
        Refused({messages.begin(),
                 messages.begin() + static_cast<std::ptrdiff_t>(sent)});
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
    EXPECT_EQ(refusal.field, sent == 0 ? "header" : "sha256") << refusal;
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

TEST_F(ServiceUploadTest, UploadThatIsCancelledLeavesNothing) {
  const Messages messages = MessagesOf(SmallRequest(), 16);
  for (size_t sent = 0; sent <= messages.size(); ++sent) {
    TestUpload upload(server_.server().InProcessChannel());
    for (size_t i = 0; i < sent; ++i) ASSERT_TRUE(upload.Send(messages[i]));
    upload.Cancel();
    EXPECT_EQ(upload.Wait().error_code(), Code::CANCELLED);
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

// A change of the messages of SmallRequest in chunks of 8 bytes, and what is
// said of it.
struct Fault {
  const char* what;
  std::function<void(Messages&)> plant;
  const char* field;
  const char* text;
};

// A message that is no chunk's.
v1::UploadWeightsRequest Sha256Message(const std::string& sha256) {
  v1::UploadWeightsRequest message;
  message.set_sha256(sha256);
  return message;
}

std::vector<Fault> Faults() {
  const auto chunk = [](Messages& messages, size_t i) -> v1::TensorChunk& {
    return *messages[i].mutable_chunk();
  };
  return {
      {"duplicate", [](auto& m) { m.insert(m.begin() + 2, m[1]); },
       "chunk.offset", "is 0; expected 8"},
      {"missing", [](auto& m) { m.erase(m.begin() + 2); }, "chunk.offset",
       "is 16; expected 8"},
      {"out of order", [](auto& m) { std::swap(m[1], m[2]); }, "chunk.offset",
       "is 8; expected 0"},
      {"overlapping", [&](auto& m) { chunk(m, 2).set_offset(4); },
       "chunk.offset", "is 4; expected 8"},
      {"negative", [&](auto& m) { chunk(m, 2).set_offset(-8); }, "chunk.offset",
       "is -8; expected 8"},
      {"of another tensor",
       [&](auto& m) { chunk(m, 2).set_tensor("key.bias"); }, "chunk.tensor",
       "is \"key.bias\" but 8 of 96 bytes of \"query.weight\""},
      {"of an unknown tensor", [&](auto& m) { chunk(m, 1).set_tensor("x"); },
       "chunk.tensor", "is \"x\""},
      {"beyond the tensor",
       [&](auto& m) { chunk(m, 12).set_data(std::string(12, '\0')); },
       "chunk.data", "has 12 bytes from byte 88 on, but \"query.weight\" has"},
      {"beyond the last tensor",
       [](auto& m) { m.insert(m.end() - 1, m[m.size() - 2]); }, "chunk.tensor",
       "all "},
      {"empty", [&](auto& m) { chunk(m, 1).clear_data(); }, "chunk.data",
       "has 0 bytes; expected one or more elements of 4"},
      {"half an element", [&](auto& m) { chunk(m, 1).set_data("123456"); },
       "chunk.data", "has 6 bytes"},
      {"larger than a chunk",
       [&](auto& m) {
         chunk(m, 1).set_data(std::string((size_t{1} << 20) + 4, '\0'));
       },
       "chunk.data", "has 1048580 bytes; at most 1048576"},
      {"before the header", [](auto& m) { m.erase(m.begin()); }, "header",
       "is required"},
      {"second header", [](auto& m) { m.insert(m.begin() + 3, m[0]); },
       "header", "twice"},
      {"after the checksum", [](auto& m) { m.push_back(m[1]); }, "chunk",
       "after sha256"},
      {"two checksums", [](auto& m) { m.push_back(m.back()); }, "sha256",
       "twice"},
      {"checksum first", [](auto& m) { m.insert(m.begin(), m.back()); },
       "sha256", "before the header"},
      {"checksum too early", [](auto& m) { m.insert(m.begin() + 3, m.back()); },
       "sha256", "came after 16 of"},
      {"no checksum",
       [](auto& m) { m.back() = Sha256Message(std::string(64, 'A')); },
       "sha256", "64 lower-case hexadecimal digits"},
      {"short checksum",
       [](auto& m) { m.back() = Sha256Message(std::string(63, 'a')); },
       "sha256", "64 lower-case hexadecimal digits"},
      {"empty message", [](auto& m) { m[1].Clear(); }, "part", "is not set"},
      {"NaN in the second chunk",
       [&](auto& m) {
         const float nan = std::numeric_limits<float>::quiet_NaN();
         chunk(m, 2).mutable_data()->replace(
             4, 4, reinterpret_cast<const char*>(&nan), 4);
       },
       "weights.query.weight.data", "at index [0, 3] is NaN"},
  };
}

TEST_F(ServiceUploadTest, MessagesOutOfPlaceAreRefusedAndLeaveNothing) {
  const Messages messages = MessagesOf(SmallRequest());
  for (const Fault& fault : Faults()) {
    Messages damaged = messages;
    fault.plant(damaged);
    const Refusal refusal = Refused(damaged);
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT)
        << fault.what << ": " << refusal;
    EXPECT_EQ(refusal.field, fault.field) << fault.what << ": " << refusal;
    EXPECT_THAT(refusal.description, HasSubstr(fault.text)) << fault.what;
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

TEST_F(ServiceUploadTest, OtherBytesThanTheChecksumSaysAreDataLoss) {
  const Messages messages = MessagesOf(SmallRequest());
  for (size_t i = 1; i + 1 < messages.size(); i += 5) {
    Messages damaged = messages;
    damaged[i].mutable_chunk()->mutable_data()->front() ^= 1;
    const Refusal refusal = Refused(damaged);
    EXPECT_EQ(refusal.code, Code::DATA_LOSS) << refusal;
    EXPECT_EQ(refusal.field, "sha256");
    EXPECT_THAT(refusal.description, HasSubstr(messages.back().sha256()));
  }
  // Heads are a part of what it is taken over.
  Messages damaged = messages;
  damaged[0].mutable_header()->mutable_weights()->set_num_heads(1);
  EXPECT_EQ(Refused(damaged).code, Code::DATA_LOSS);
  ExpectNothingLeft();
}

TEST_F(ServiceUploadTest, HeaderIsRefusedBeforeAnyChunkIsSent) {
  using Header = v1::UploadWeightsRequest::Header;
  const struct {
    std::function<void(Header&)> change;
    const char* field;
  } faults[] = {
      {[](Header& h) { h.clear_name(); }, "name"},
      {[](Header& h) { h.clear_weights(); }, "weights"},
      {[](Header& h) { h.add_labels("9"); }, "labels[0]"},
      {[](Header& h) { h.set_expected_version(-1); }, "expected_version"},
      {[](Header& h) { h.set_idempotency_key(std::string(129, 'k')); },
       "idempotency_key"},
      {[](Header& h) { (*h.mutable_annotations())[""] = "x"; }, "annotations"},
      {[](Header& h) { h.mutable_weights()->clear_layout(); },
       "weights.layout"},
      {[](Header& h) { h.mutable_weights()->set_num_heads(0); },
       "weights.num_heads"},
      {[](Header& h) { h.mutable_weights()->clear_value(); }, "weights.value"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_data("1234");
       },
       "weights.key.weight.data"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_bias()->add_values(1);
       },
       "weights.key.bias.values"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_dtype(
             v1::DATA_TYPE_BOOL);
       },
       "weights.key.weight.dtype"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_dtype(
             v1::DATA_TYPE_FLOAT64);
       },
       "weights.key.weight.dtype"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(1, 7);
       },
       "weights.key.bias.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(
             0, int64_t{1} << 40);
       },
       "weights.key.weight.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(0, -1);
       },
       "weights.key.weight.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->add_shape(1);
       },
       "weights.key.weight.shape"},
  };
  const v1::UploadWeightsRequest header = MessagesOf(SmallRequest()).front();
  for (const auto& fault : faults) {
    v1::UploadWeightsRequest damaged = header;
    fault.change(*damaged.mutable_header());
    TestUpload upload(server_.server().InProcessChannel());
    upload.Send(damaged);
    const Refusal refusal(upload.Wait());
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
    EXPECT_EQ(refusal.field, fault.field) << refusal;
  }
  ExpectNothingLeft();
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
