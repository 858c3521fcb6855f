// StreamAttention, over an in-process channel and a socket.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

v1::ComputeAttentionRequest SmallRequest(double phase = 0) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({6, 2}, phase);
  return request;
}

// From the tiniest to what comes in many slices, by every way of computing.
v1::ComputeAttentionRequest RequestOfSize(int index) {
  v1::ComputeAttentionRequest request;
  constexpr int64_t kLens[] = {1, 6, 40, 100, 300, 3000};
  const int64_t len = kLens[index % 6];
  *request.mutable_query() = Floats({len, 8}, index);
  *request.mutable_key() = Floats({len / 2 + 1, 8}, index + 1);
  request.set_num_heads(index % 2 + 1);
  request.set_want_lse(index % 3 == 0);
  return request;
}

// The answers to ids 1 .. count of an open stream, however they are ordered.
std::map<uint64_t, v1::StreamAttentionResponse> ReceiveAll(TestStream& stream,
                                                           size_t count) {
  std::map<uint64_t, v1::StreamAttentionResponse> answers;
  for (size_t i = 0; i < count; ++i) {
    auto answer = stream.Receive();
    if (!answer) break;
    answers[answer->id()] = *answer;
  }
  return answers;
}

TEST(ServiceStream, AnswersHaveTheBitsOfCalls) {
  TestServer server;
  for (const auto& channel :
       {server.server().InProcessChannel(), SocketTo(server)}) {
    constexpr int kCount = 60;
    TestStream stream(channel);
    std::thread sender([&] {
      for (int i = 1; i <= kCount; ++i) stream.Send(i, RequestOfSize(i));
      stream.Close();
    });
    const auto answers = ReceiveAll(stream, kCount);
    sender.join();
    ASSERT_EQ(answers.size(), size_t{kCount});
    EXPECT_FALSE(stream.Receive().has_value());
    EXPECT_TRUE(stream.Finish().ok());
    for (const auto& [id, answer] : answers) {
      v1::ComputeAttentionResponse expected;
      const grpc::Status status = server.client().Compute(
          RequestOfSize(static_cast<int>(id)), &expected);
      ASSERT_TRUE(status.ok()) << Refusal(status);
      EXPECT_EQ(answer.response().output().SerializeAsString(),
                expected.output().SerializeAsString());
      EXPECT_EQ(answer.response().lse().SerializeAsString(),
                expected.lse().SerializeAsString());
      EXPECT_TRUE(answer.response().has_timing());
    }
  }
}

TEST(ServiceStream, AnswerHasTheBytesThatProtobufWrites) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  for (const uint64_t id : {uint64_t{0}, uint64_t{1}, UINT64_MAX}) {
    for (const int size : {1, 5}) {
      stream.Send(id, RequestOfSize(size));
      const std::string bytes = stream.ReceiveBytes();
      v1::StreamAttentionResponse answer;
      ASSERT_TRUE(answer.ParseFromString(bytes));
      EXPECT_EQ(answer.id(), id);
      EXPECT_TRUE(answer.has_response());
      EXPECT_EQ(answer.SerializeAsString(), bytes);
    }
  }
}

TEST(ServiceStream, ShortRequestOvertakesALongOne) {
  auto config = TestServer::TestConfig();
  config.threads = 1;
  TestServer server(config);
  TestStream stream(server.server().InProcessChannel());
  stream.Send(1, EndlessRequest());
  stream.Send(2, RequestOfSize(4));
  stream.Send(3, SmallRequest());
  const auto answers = ReceiveAll(stream, 2);
  EXPECT_EQ(answers.count(1), 0U);
  EXPECT_EQ(answers.count(2), 1U);
  EXPECT_EQ(answers.count(3), 1U);
  stream.Cancel();
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceStream, RefusedMessageDoesNotEndTheStream) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  v1::ComputeAttentionRequest bad = SmallRequest();
  bad.set_softcap(-1);
  v1::ComputeAttentionRequest not_found = SmallRequest();
  not_found.mutable_weight_set()->set_name("nobody");
  stream.Send(1, SmallRequest());
  stream.Send(2, bad);
  stream.Send(3, not_found);
  stream.Send(4, SmallRequest());
  stream.Close();
  const auto answers = ReceiveAll(stream, 4);
  ASSERT_EQ(answers.size(), size_t{4});
  EXPECT_TRUE(answers.at(1).has_response());
  EXPECT_TRUE(answers.at(4).has_response());
  EXPECT_TRUE(stream.Finish().ok());
  // Word for word what a call answers.
  for (const auto& [id, request] :
       {std::pair<uint64_t, v1::ComputeAttentionRequest>{2, bad},
        {3, not_found}}) {
    v1::ComputeAttentionResponse reply;
    const grpc::Status call = server.client().Compute(request, &reply);
    const auto& error = answers.at(id).error();
    EXPECT_EQ(error.code(), call.error_code());
    EXPECT_EQ(error.message(), call.error_message());
    EXPECT_EQ(error.SerializeAsString(), call.error_details());
  }
  // BadRequest and ErrorInfo.
  EXPECT_EQ(answers.at(2).error().details_size(), 2);
}

TEST(ServiceStream, DamagedMessageIsAnsweredAndDoesNotEndTheStream) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  // id 7 and a request that is cut off.
  stream.SendBytes(std::string("\x08\x07\x12\x05\x12", 5));
  auto answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 7U);
  EXPECT_EQ(answer->error().code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(answer->error().message(),
              HasSubstr("attention.v1.StreamAttentionRequest"));
  stream.SendBytes("\xFF");
  answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 0U);
  EXPECT_EQ(answer->error().code(), grpc::StatusCode::INVALID_ARGUMENT);
  stream.Send(8, SmallRequest());
  answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->has_response());
}

TEST(ServiceStream, MessageBeyondTheLimitIsRefusedAlone) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = 1000;
  TestServer server(config);
  TestStream stream(server.server().InProcessChannel());
  stream.Send(1, RequestOfSize(5));
  auto answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->id(), 1U);
  EXPECT_EQ(answer->error().code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(answer->error().message(), HasSubstr("--max-message-bytes"));
  stream.Send(2, SmallRequest());
  answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->has_response());
}

// Sends endless requests and returns the bytes that the server holds for the
// first of them, while it answers calls beside it.
void ExpectOnlyTheFirstIsRead(const server::Config& config) {
  LogLines log;
  TestServer server(config);
  const v1::ComputeAttentionRequest endless = EndlessRequest();
  const auto message = static_cast<int64_t>(endless.ByteSizeLong());
  TestStream stream(server.server().InProcessChannel());
  std::thread sender([&] {
    // Those that are not read fill the connection, so one of them blocks.
    for (int i = 1; i <= 3 && stream.Send(i, endless); ++i) {
    }
  });
  ASSERT_TRUE(WaitUntil(
      [&] { return server.server().bytes_in_flight() > message + 100; }));
  // Its bytes are given back once they have been gathered.
  const int64_t held = server.server().bytes_in_flight();
  ASSERT_TRUE(WaitUntil(
      [&] { return server.server().bytes_in_flight() < held - message; }));
  const int64_t gathered = server.server().bytes_in_flight();
  for (int i = 0; i < 30; ++i) {
    v1::ComputeAttentionResponse reply;
    EXPECT_TRUE(server.client().Compute(RequestOfSize(4), &reply).ok());
  }
  EXPECT_TRUE(
      WaitUntil([&] { return server.server().bytes_in_flight() <= gathered; }));
  EXPECT_EQ(server.server().bytes_in_flight(), gathered);
  // A message that was read and did not fit would have been refused.
  EXPECT_THAT(log.With("code=RESOURCE_EXHAUSTED"), IsEmpty());
  stream.Cancel();
  sender.join();
  stream.Finish();
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceStream, IsNotReadOnWhileEnoughIsUnderWay) {
  auto config = TestServer::TestConfig();
  config.limits.max_stream_in_flight = 1;
  ExpectOnlyTheFirstIsRead(config);
}

TEST(ServiceStream, IsNotReadOnWhileMemoryIsShort) {
  // Room for one endless request, which takes its message, the query gathered
  // out of it, a reply of its size and a workspace; what is left is less than
  // four times its message.
  ExpectOnlyTheFirstIsRead(TestServer::ConfigOfMemory(
      5 * static_cast<int64_t>(EndlessRequest().ByteSizeLong())));
}

TEST(ServiceStream, IdleStreamsTakeNoPlaceOfRequests) {
  auto config = TestServer::TestConfig();
  config.limits.max_requests_in_flight = 1;
  config.limits.max_open_streams = 20;
  TestServer server(config);
  std::vector<std::unique_ptr<TestStream>> idle;
  for (int i = 0; i < 20; ++i) {
    idle.push_back(
        std::make_unique<TestStream>(server.server().InProcessChannel()));
    // Answered, so it is open.
    ASSERT_TRUE(idle.back()->Send(1, RequestOfSize(4)));
    ASSERT_TRUE(idle.back()->Receive().has_value());
  }
  v1::ComputeAttentionResponse reply;
  EXPECT_TRUE(server.client().Compute(RequestOfSize(4), &reply).ok());
  TestStream beyond(server.server().InProcessChannel());
  beyond.Send(1, RequestOfSize(4));
  EXPECT_FALSE(beyond.Receive().has_value());
  const Refusal refusal(beyond.Finish());
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-open-streams");
}

TEST(ServiceStream, StreamThatBringsNothingIsEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_stream_idle_seconds = 0.1;
  TestServer server(config);
  TestStream stream(server.server().InProcessChannel());
  ASSERT_TRUE(stream.Send(1, RequestOfSize(4)));
  ASSERT_TRUE(stream.Receive().has_value());
  EXPECT_FALSE(stream.Receive().has_value());
  const Refusal refusal(stream.Finish());
  EXPECT_EQ(refusal.code, grpc::StatusCode::ABORTED) << refusal;
  EXPECT_EQ(refusal.reason, "STALLED");
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-stream-idle");
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceStream, StreamWhoseAnswersAreNotReadIsEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_stream_idle_seconds = 2;
  TestServer server(config);
  // Over a socket, whose buffers end.
  TestStream stream(SocketTo(server));
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({1 << 18, 4});
  *request.mutable_key() = Floats({1, 4});
  for (uint64_t id = 1; id <= 4; ++id) stream.Send(id, request);
  EXPECT_TRUE(WaitUntil([&] {
    return server.server().bytes_in_flight() > 0 && !server.server().idle();
  }));
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_EQ(server.server().bytes_in_flight(), 0);
}

TEST(ServiceStream, StreamThatIsComputedForIsNotIdle) {
  auto config = TestServer::TestConfig();
  config.limits.max_stream_idle_seconds = 1;
  TestServer server(config);
  TestStream stream(server.server().InProcessChannel());
  ASSERT_TRUE(stream.Send(1, EndlessRequest()));
  ASSERT_TRUE(WaitUntil([&] { return server.server().bytes_in_flight() > 0; }));
  // Much longer than it may be idle.
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));
  EXPECT_GT(server.server().bytes_in_flight(), 0);
}

TEST(ServiceStream, ClientThatDoesNotReadIsHeldUp) {
  auto config = TestServer::TestConfig();
  config.limits.max_stream_in_flight = 4;
  TestServer server(config);
  // Over a socket, whose buffers end.
  TestStream stream(SocketTo(server));
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({20'000, 16});
  *request.mutable_key() = Floats({1, 16});
  const auto message = static_cast<int64_t>(request.ByteSizeLong());
  constexpr size_t kCount = 40;
  std::atomic<size_t> sent{0};
  std::thread sender([&] {
    for (size_t i = 1; i <= kCount; ++i) {
      stream.Send(i, request);
      ++sent;
    }
    stream.Close();
  });
  ASSERT_TRUE(WaitUntil([&] { return sent > 2; }));
  int64_t most = 0;
  size_t received = 0;
  while (stream.Receive()) {
    ++received;
    most = std::max(most, server.server().bytes_in_flight());
  }
  sender.join();
  EXPECT_EQ(received, kCount);
  EXPECT_TRUE(stream.Finish().ok());
  // Four of them, and each takes its message, its reply and some workspace.
  EXPECT_LE(most, int64_t{16} * message);
}

TEST(ServiceStream, HalfClosedStreamIsAnsweredToTheEnd) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  for (int i = 1; i <= 20; ++i) stream.Send(i, RequestOfSize(i));
  stream.Close();
  EXPECT_EQ(ReceiveAll(stream, 20).size(), size_t{20});
  EXPECT_FALSE(stream.Receive().has_value());
  EXPECT_TRUE(stream.Finish().ok());
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceStream, EmptyStreamEndsOk) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  stream.Close();
  EXPECT_FALSE(stream.Receive().has_value());
  EXPECT_TRUE(stream.Finish().ok());
}

TEST(ServiceStream, CancellationReachesEveryComputation) {
  LogLines log;
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  stream.Send(1, EndlessRequest());
  stream.Send(2, EndlessRequest());
  const auto message = static_cast<int64_t>(EndlessRequest().ByteSizeLong());
  ASSERT_TRUE(WaitUntil(
      [&] { return server.server().bytes_in_flight() > 4 * message; }));
  stream.Cancel();
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_THAT(log.With("code=OK"), IsEmpty());
  // Two messages and the stream.
  EXPECT_THAT(log.With("code=CANCELLED"), SizeIs(3));
}

TEST(ServiceStream, DeadlineReachesEveryComputation) {
  TestServer server;
  const v1::ComputeAttentionRequest request = EndlessRequest();
  TestStream stream(
      server.server().InProcessChannel(),
      std::chrono::system_clock::now() + std::chrono::milliseconds(500));
  stream.Send(1, request);
  // Whichever clock is first: the client's ends the stream, the server's the
  // computation.
  const auto answer = stream.Receive();
  if (answer.has_value()) {
    ASSERT_TRUE(answer->has_error());
    EXPECT_EQ(answer->error().code(), grpc::StatusCode::DEADLINE_EXCEEDED);
    EXPECT_FALSE(stream.Receive().has_value());
  }
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceStream, DrainingEndsAnIdleStream) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  stream.Send(1, SmallRequest());
  ASSERT_TRUE(stream.Receive().has_value());
  EXPECT_FALSE(server.server().idle());
  server.server().Drain();
  EXPECT_FALSE(stream.Receive().has_value());
  const Refusal refusal(stream.Finish());
  EXPECT_EQ(refusal.code, grpc::StatusCode::UNAVAILABLE) << refusal;
  EXPECT_EQ(refusal.reason, "DRAINING");
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  // And a new one is not begun.
  TestStream late(server.server().InProcessChannel());
  EXPECT_FALSE(late.Receive().has_value());
  EXPECT_EQ(late.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ServiceStream, DrainingAnswersWhatIsUnderWay) {
  TestServer server;
  TestStream stream(server.server().InProcessChannel());
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({1 << 14, 1});
  *request.mutable_key() = Floats({1 << 13, 1});
  const auto message = static_cast<int64_t>(request.ByteSizeLong());
  stream.Send(1, request);
  ASSERT_TRUE(WaitUntil(
      [&] { return server.server().bytes_in_flight() > message + 100; }));
  server.server().Drain();
  const auto answer = stream.Receive();
  ASSERT_TRUE(answer.has_value());
  EXPECT_TRUE(answer->has_response());
  EXPECT_FALSE(stream.Receive().has_value());
  EXPECT_EQ(stream.Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ServiceStream, StopEndsStreamsAndReturns) {
  TestServer server;
  TestStream busy(server.server().InProcessChannel());
  TestStream idle(server.server().InProcessChannel());
  busy.Send(1, EndlessRequest());
  idle.Send(1, SmallRequest());
  ASSERT_TRUE(idle.Receive().has_value());
  server.server().Stop();
  EXPECT_THAT(busy.Finish().error_code(), AnyOf(grpc::StatusCode::CANCELLED,
                                                grpc::StatusCode::UNAVAILABLE));
  EXPECT_FALSE(idle.Finish().ok());
  EXPECT_TRUE(server.server().idle());
}

TEST(ServiceStream, EachMessageIsALineOfTheLogAndTheStreamIsOne) {
  LogLines log;
  TestServer server;
  {
    TestStream stream(server.server().InProcessChannel());
    stream.Send(5, SmallRequest());
    ASSERT_TRUE(stream.Receive().has_value());
    stream.Send(6, {});
    ASSERT_TRUE(stream.Receive().has_value());
    stream.Close();
    EXPECT_TRUE(stream.Finish().ok());
  }
  const auto lines = log.With("StreamAttention id=");
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_THAT(lines[0], HasSubstr("/5 code=OK request_bytes="));
  EXPECT_THAT(lines[1], HasSubstr("/6 code=INVALID_ARGUMENT"));
  EXPECT_THAT(lines[2], HasSubstr("code=OK"));
}

// One stream after the other, each sending more than it may read: some are read
// to the end, some closed or left open and then cancelled.
void RunStreams(const std::shared_ptr<grpc::Channel>& channel, int client) {
  for (int round = 0; round < 12; ++round) {
    TestStream stream(channel);
    std::thread sender([&] {
      for (int i = 1; i <= 40; ++i) {
        if (!stream.Send(i, RequestOfSize(i % 5))) return;
      }
      if ((client + round) % 3 != 1) stream.Close();
    });
    size_t received = 0;
    const size_t wanted = (client + round) % 3 == 0 ? 40 : 7;
    while (received < wanted && stream.Receive()) ++received;
    EXPECT_EQ(received, wanted);
    if (wanted < 40) stream.Cancel();
    sender.join();
    stream.Finish();
  }
}

TEST(ServiceStream, ManyStreamsThatEndInEveryWayLeaveNothingBehind) {
  TestServer server;
  const auto channel = SocketTo(server);
  std::vector<std::thread> clients;
  clients.reserve(4);
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&, client] { RunStreams(channel, client); });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_EQ(server.server().bytes_in_flight(), 0);
}

}  // namespace
}  // namespace attention
