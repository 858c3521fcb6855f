// What an upload may take, and for how long, over an in-process channel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/any_call.h"
#include "tests/support/service_fixture.h"
#include "tests/support/test_upload.h"

namespace attention {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Code = grpc::StatusCode;
using Messages = std::vector<v1::UploadWeightsRequest>;

constexpr int64_t kChunk = int64_t{1} << 20;

// Three projections and no bias: 3 * `rows` * 4 * 4 bytes in FLOAT32.
v1::SetWeightsRequest RequestOf(int64_t rows,
                                v1::DataType dtype = v1::DATA_TYPE_FLOAT32) {
  v1::SetWeightsRequest request;
  request.set_name("layer");
  v1::WeightSet& weights = *request.mutable_weights();
  weights.set_num_heads(1);
  weights.set_layout(v1::LAYOUT_IN_OUT);
  const auto count = static_cast<size_t>(rows) * 4;
  for (v1::Projection* projection :
       {weights.mutable_query(), weights.mutable_key(),
        weights.mutable_value()}) {
    *projection->mutable_weight() =
        TensorOf(dtype, {rows, 4}, std::vector<double>(count, 0.5));
  }
  return request;
}
constexpr int64_t BytesOf(int64_t rows) { return 3 * rows * 4 * 4; }

std::string Sha256Of(const v1::SetWeightsRequest& request) {
  TestServer other;
  v1::SetWeightsResponse reply;
  EXPECT_TRUE(other.client().Set(request, &reply).ok());
  return reply.version().sha256();
}

bool HasNothingLeft(TestServer& server) {
  v1::ListWeightsResponse listed;
  EXPECT_TRUE(server.client().List({}, &listed).ok());
  return listed.versions_size() == 0 &&
         WaitUntil([&] { return server.server().idle(); }) &&
         server.server().bytes_in_flight() == 0;
}

// The answer to a header alone.
Refusal HeaderRefused(TestServer& server,
                      const v1::SetWeightsRequest& request) {
  TestUpload upload(server.server().InProcessChannel());
  upload.Send(UploadOf(request, "").front());
  return Refusal(upload.Wait());
}

// Whether the server takes the header: then it holds the message.
bool IsTaken(TestServer& server, TestUpload& upload,
             const v1::SetWeightsRequest& request) {
  const int64_t before = server.server().bytes_in_flight();
  return upload.Send(UploadOf(request, "").front()) &&
         WaitUntil([&] { return server.server().bytes_in_flight() > before; });
}

TEST(ServiceUploadLimits, SetThatIsTooLargeNamesFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_weight_set_bytes = BytesOf(10);
  TestServer server(config);
  const auto request = RequestOf(10);
  TestUpload upload(server.server().InProcessChannel());
  for (const auto& message : UploadOf(request, Sha256Of(request))) {
    EXPECT_TRUE(upload.Send(message));
  }
  EXPECT_TRUE(upload.Finish().ok());
  const Refusal refusal = HeaderRefused(server, RequestOf(11));
  EXPECT_EQ(refusal.code, Code::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-weight-set-bytes");
  EXPECT_EQ(refusal.metadata.at("needed"), std::to_string(BytesOf(11)));
  EXPECT_EQ(refusal.metadata.at("limit"), std::to_string(BytesOf(10)));
  EXPECT_FALSE(refusal.retry);
}

TEST(ServiceUploadLimits, SetLargerThanAMessageGoesIn) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = kChunk + 1024;
  TestServer server(config);
  const auto request = RequestOf(int64_t{1} << 16);
  v1::SetWeightsResponse reply;
  EXPECT_EQ(server.client().Set(request, &reply).error_code(),
            Code::RESOURCE_EXHAUSTED);
  TestUpload upload(server.server().InProcessChannel());
  for (const auto& message : UploadOf(request, Sha256Of(request))) {
    EXPECT_TRUE(upload.Send(message));
  }
  EXPECT_TRUE(upload.Finish().ok());
}

TEST(ServiceUploadLimits, SizesThatOverflowAreRefused) {
  auto config = TestServer::TestConfig();
  config.limits.max_axis = int64_t{1} << 31;
  TestServer server(config);
  v1::SetWeightsRequest request = RequestOf(1);
  v1::WeightSet& weights = *request.mutable_weights();
  for (v1::Projection* projection :
       {weights.mutable_query(), weights.mutable_key(),
        weights.mutable_value()}) {
    for (const int axis : {0, 1}) {
      projection->mutable_weight()->set_shape(axis, int64_t{1} << 31);
    }
  }
  const Refusal refusal = HeaderRefused(server, request);
  EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "weights");
  // 2^62 * 2 and no overflow.
  for (v1::Projection* projection :
       {weights.mutable_key(), weights.mutable_value()}) {
    projection->mutable_weight()->set_shape(0, 1);
  }
  weights.mutable_query()->mutable_weight()->set_shape(0, int64_t{1} << 29);
  EXPECT_EQ(HeaderRefused(server, request).metadata.at("flag"),
            "--max-weight-set-bytes");
  EXPECT_TRUE(HasNothingLeft(server));
}

// Bytes of sets that are being uploaded.
int64_t Uploading(TestServer& server) {
  return server.server().ledger().held(memory::Kind::kUploads);
}

// What a set of RequestOf takes beside its tensors.
int64_t FactsOf(const v1::SetWeightsRequest& request) {
  weights::WeightSetVersion::Record record;
  record.name = request.name();
  return weights::WeightSetVersion::FactsBytes(record);
}

// Sends everything but the checksum; whether all of it was taken.
bool SendTensors(TestUpload& upload, const Messages& messages) {
  for (size_t i = 1; i + 1 < messages.size(); ++i) {
    if (!upload.Send(messages[i])) return false;
  }
  return true;
}

TEST(ServiceUploadLimits, MemoryIsTakenAsTheTensorsComeAndGivenBack) {
  TestServer server;
  constexpr int64_t kRows = 1 << 16;
  const auto request = RequestOf(kRows);
  {
    TestUpload upload(server.server().InProcessChannel());
    ASSERT_TRUE(IsTaken(server, upload, request));
    EXPECT_TRUE(
        WaitUntil([&] { return Uploading(server) == FactsOf(request); }));
    ASSERT_TRUE(SendTensors(upload, UploadOf(request, "")));
    // Each of three tensors is a string, which has a byte more.
    EXPECT_TRUE(WaitUntil([&] {
      return Uploading(server) == BytesOf(kRows) + 3 + FactsOf(request);
    }));
    upload.Cancel();
    EXPECT_EQ(upload.Wait().error_code(), Code::CANCELLED);
  }
  EXPECT_TRUE(HasNothingLeft(server));
}

TEST(ServiceUploadLimits, HeadersAloneKeepNobodyOut) {
  constexpr int64_t kRows = 1 << 16;
  TestServer server(TestServer::ConfigOfMemory(2 * BytesOf(kRows)));
  const auto request = RequestOf(kRows);
  std::vector<std::unique_ptr<TestUpload>> idle;
  for (int i = 0; i < 20; ++i) {
    idle.push_back(
        std::make_unique<TestUpload>(server.server().InProcessChannel()));
    ASSERT_TRUE(IsTaken(server, *idle.back(), request));
  }
  TestUpload upload(server.server().InProcessChannel());
  for (const auto& message : UploadOf(request, Sha256Of(request))) {
    ASSERT_TRUE(upload.Send(message));
  }
  const grpc::Status status = upload.Finish();
  EXPECT_TRUE(status.ok()) << Refusal(status);
}

TEST(ServiceUploadLimits, YoungestGivesWayWhereMemoryIsShort) {
  constexpr int64_t kRows = 1 << 16;
  // Room for one set and a chunk as it came and as it is read, and half a set.
  TestServer server(
      TestServer::ConfigOfMemory(BytesOf(kRows) * 3 / 2 + 4 * kChunk));
  const auto request = RequestOf(kRows);
  const Messages messages = UploadOf(request, Sha256Of(request));
  TestUpload older(server.server().InProcessChannel());
  ASSERT_TRUE(IsTaken(server, older, request));
  TestUpload younger(server.server().InProcessChannel());
  ASSERT_TRUE(IsTaken(server, younger, request));
  ASSERT_TRUE(SendTensors(younger, messages));
  ASSERT_TRUE(WaitUntil([&] {
    return Uploading(server) == BytesOf(kRows) + 3 + 2 * FactsOf(request);
  }));
  for (size_t i = 1; i < messages.size(); ++i) {
    ASSERT_TRUE(older.Send(messages[i]));
  }
  const grpc::Status status = older.Finish();
  EXPECT_TRUE(status.ok()) << Refusal(status);
  const Refusal refusal(younger.Wait());
  EXPECT_EQ(refusal.code, Code::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.reason, "BUSY");
  EXPECT_EQ(refusal.metadata.at("flag"), "--memory-limit");
  EXPECT_TRUE(refusal.retry) << refusal;
}

TEST(ServiceUploadLimits, SetThatFitsInNoWayIsRefused) {
  constexpr int64_t kRows = 1 << 18;  // 3 * 4 MiB
  TestServer server(TestServer::ConfigOfMemory(10 * kChunk));
  const auto request = RequestOf(kRows);
  TestUpload upload(server.server().InProcessChannel());
  for (const auto& message : UploadOf(request, "")) {
    if (!upload.Send(message)) break;
  }
  const Refusal refusal(upload.Wait());
  EXPECT_EQ(refusal.code, Code::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.field, "weights") << refusal;
  EXPECT_EQ(refusal.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(refusal.metadata.at("flag"), "--memory-limit");
  EXPECT_TRUE(HasNothingLeft(server));
}

TEST(ServiceUploadLimits, UploadCountsAsAnOpenStreamAndNotAsARequest) {
  auto config = TestServer::TestConfig();
  config.limits.max_requests_in_flight = 1;
  config.limits.max_open_streams = 1;
  TestServer server(config);
  {
    TestUpload upload(server.server().InProcessChannel());
    ASSERT_TRUE(IsTaken(server, upload, RequestOf(10)));
    v1::ListWeightsResponse listed;
    EXPECT_TRUE(server.client().List({}, &listed).ok());
    const Refusal refusal = HeaderRefused(server, RequestOf(10));
    EXPECT_EQ(refusal.code, Code::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_EQ(refusal.metadata.at("flag"), "--max-open-streams");
    EXPECT_TRUE(refusal.retry) << refusal;
  }
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_TRUE(HasNothingLeft(server));
}

// An upload of which `sent` messages come, on a server that waits 50 ms.
Refusal Stalled(TestServer& server, const Messages& messages, size_t sent) {
  TestUpload upload(server.server().InProcessChannel());
  for (size_t i = 0; i < sent; ++i) EXPECT_TRUE(upload.Send(messages[i]));
  return Refusal(upload.Wait());
}

TEST(ServiceUploadLimits, StalledUploadIsEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_transfer_idle_seconds = 0.05;
  TestServer server(config);
  const auto request = RequestOf(10);
  const Messages messages = UploadOf(request, Sha256Of(request), 16);
  // Before the header, after it, after some chunks, after the checksum.
  for (const size_t sent : {size_t{0}, size_t{1}, size_t{4}, messages.size()}) {
    const Refusal refusal = Stalled(server, messages, sent);
    EXPECT_EQ(refusal.code, Code::ABORTED) << sent << ": " << refusal;
    EXPECT_EQ(refusal.reason, "STALLED");
    EXPECT_THAT(refusal.message, HasSubstr("--max-transfer-idle"));
  }
  EXPECT_TRUE(HasNothingLeft(server));
}

// The answer is larger than what gRPC takes of it while nobody reads.
TEST(ServiceUploadLimits, AnswerThatNobodyReadsIsEnded) {
  LogLines log;
  auto config = TestServer::TestConfig();
  config.limits.max_transfer_idle_seconds = 0.05;
  TestServer server(config);
  v1::SetWeightsResponse set;
  ASSERT_TRUE(server.client().Set(RequestOf(1 << 18), &set).ok());
  OpenCall unread(server.server().InProcessChannel(),
                  "/attention.v1.AttentionService/GetWeights");
  v1::GetWeightsRequest get;
  get.mutable_weight_set()->set_name("layer");
  ASSERT_TRUE(unread.Send(get.SerializeAsString()));
  unread.EndSending();
  EXPECT_TRUE(WaitUntil([&] {
    return !log.With("GetWeights id=").empty() && server.server().idle();
  }));
  EXPECT_THAT(log.With("GetWeights id="),
              ElementsAre(AllOf(HasSubstr("code=ABORTED"),
                                HasSubstr("--max-transfer-idle"))));
}

TEST(ServiceUploadLimits, UploadThatTricklesIsEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_transfer_idle_seconds = 0.2;
  TestServer server(config);
  const auto request = RequestOf(1000);
  TestUpload upload(server.server().InProcessChannel());
  // 3000 chunks of 16 bytes, one in a millisecond: never idle, never done.
  bool goes_on = true;
  for (const auto& message : UploadOf(request, Sha256Of(request), 16)) {
    goes_on = upload.Send(message);
    if (!goes_on) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_FALSE(goes_on);  // or it was ended when nothing came any more
  const Refusal refusal(upload.Wait());
  EXPECT_EQ(refusal.code, Code::ABORTED) << refusal;
  EXPECT_EQ(refusal.reason, "STALLED");
  EXPECT_TRUE(HasNothingLeft(server));
}

TEST(ServiceUploadLimits, UploadThatGoesOnIsNotEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_transfer_idle_seconds = 0.5;
  TestServer server(config);
  const auto request = RequestOf(int64_t{1} << 19);  // 3 * 8 MiB
  const Messages messages = UploadOf(request, Sha256Of(request));
  TestUpload upload(server.server().InProcessChannel());
  const auto start = std::chrono::steady_clock::now();
  for (const auto& message : messages) {
    ASSERT_TRUE(upload.Send(message));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_GT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  const grpc::Status status = upload.Finish();
  EXPECT_TRUE(status.ok()) << Refusal(status);
}

TEST(ServiceUploadLimits, DeadlineOfAnUploadLeavesNothing) {
  TestServer server;
  TestUpload upload(
      server.server().InProcessChannel(),
      std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  upload.Send(UploadOf(RequestOf(10), "").front());
  EXPECT_EQ(upload.Wait().error_code(), Code::DEADLINE_EXCEEDED);
  EXPECT_TRUE(HasNothingLeft(server));
}

TEST(ServiceUploadLimits, DrainingRefusesTheNewAndLetsTheOldGoOn) {
  TestServer server;
  const auto request = RequestOf(10);
  const Messages messages = UploadOf(request, Sha256Of(request), 16);
  TestUpload upload(server.server().InProcessChannel());
  ASSERT_TRUE(IsTaken(server, upload, request));
  server.server().Drain();
  EXPECT_EQ(HeaderRefused(server, request).reason, "DRAINING");
  for (size_t i = 1; i < messages.size(); ++i) {
    ASSERT_TRUE(upload.Send(messages[i]));
  }
  EXPECT_TRUE(upload.Finish().ok());
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceUploadLimits, ServerThatStopsEndsAnUpload) {
  TestServer server;
  const Messages messages = UploadOf(RequestOf(10), "", 16);
  TestUpload upload(server.server().InProcessChannel());
  for (size_t i = 0; i < 5; ++i) ASSERT_TRUE(upload.Send(messages[i]));
  server.server().Stop();
  EXPECT_THAT(upload.Wait().error_code(),
              AnyOf(Code::CANCELLED, Code::UNAVAILABLE));
  // The memory is given back, then the budget, by a thread of the server's own.
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_EQ(server.server().bytes_in_flight(), 0);
}

}  // namespace
}  // namespace attention
