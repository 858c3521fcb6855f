// Limits, cancellation, draining and the log, over an in-process channel.
#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "server/core/kernel/strip_kernel.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

v1::ComputeAttentionRequest SmallRequest() {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({10, 4});
  return request;
}

Refusal ComputeOn(TestServer& server,
                  const v1::ComputeAttentionRequest& request) {
  v1::ComputeAttentionResponse reply;
  return Refusal(server.client().Compute(request, &reply));
}

// A request that is under way, and holds all the memory it takes, until it is
// cancelled.
class EndlessCall {
 public:
  explicit EndlessCall(TestServer& server) : server_(server) {
    const v1::ComputeAttentionRequest request = EndlessRequest();
    const auto message = static_cast<int64_t>(request.ByteSizeLong());
    const int64_t before = server.server().bytes_in_flight();
    thread_ = std::thread([this, request] {
      v1::ComputeAttentionResponse reply;
      status_ = server_.client().Compute(request, &reply, &context_);
    });
    EXPECT_TRUE(WaitUntil(
        [&] { return server.server().bytes_in_flight() > before + message; }));
  }
  ~EndlessCall() { Cancel(); }

  // Cancels and waits for the answer.
  grpc::Status Cancel() {
    context_.TryCancel();
    return Wait();
  }
  grpc::Status Wait() {
    if (thread_.joinable()) thread_.join();
    return status_;
  }

 private:
  TestServer& server_;
  grpc::ClientContext context_;
  grpc::Status status_;
  std::thread thread_;
};

void ExpectOverLimit(const Refusal& refusal, const std::string& flag,
                     int64_t needed, int64_t limit) {
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_THAT(refusal.message, HasSubstr(std::to_string(needed)));
  EXPECT_THAT(refusal.message, HasSubstr(std::to_string(limit)));
  EXPECT_THAT(refusal.message, HasSubstr(flag));
  EXPECT_EQ(refusal.reason, "LIMIT_EXCEEDED");
  EXPECT_EQ(refusal.metadata.at("flag"), flag);
  EXPECT_EQ(refusal.metadata.at("needed"), std::to_string(needed));
  EXPECT_EQ(refusal.metadata.at("limit"), std::to_string(limit));
  EXPECT_FALSE(refusal.retry) << refusal;
}

TEST(ServiceLimits, ReplyThatIsTooLargeNamesFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_result_bytes = 10 * 4 * 4 + 10 * 10 * 4;
  TestServer server(config);
  auto request = SmallRequest();
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_SCORES);
  // Exactly at the limit: output and matrix.
  EXPECT_EQ(ComputeOn(server, request).code, grpc::StatusCode::OK);
  request.set_want_lse(true);
  ExpectOverLimit(ComputeOn(server, request), "--max-result-bytes",
                  config.limits.max_result_bytes + int64_t{10} * 4,
                  config.limits.max_result_bytes);
  // Values take eight bytes each.
  request.set_want_lse(false);
  *request.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT32, {10, 4}, Elements(request.query()), true);
  ExpectOverLimit(ComputeOn(server, request), "--max-result-bytes",
                  2 * config.limits.max_result_bytes,
                  config.limits.max_result_bytes);
  // A top_k entry is a weight and an index.
  request = SmallRequest();
  request.set_top_k(10);
  ExpectOverLimit(ComputeOn(server, request), "--max-result-bytes",
                  10 * 4 * 4 + 10 * 10 * (4 + 4),
                  config.limits.max_result_bytes);
}

TEST(ServiceLimits, MatrixLargerThanMemoryIsRefusedBeforeItIsAllocated) {
  TestServer server;
  constexpr int64_t kLen = int64_t{1} << 20;
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({kLen, 1});
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_SCORES);
  ExpectOverLimit(ComputeOn(server, request), "--max-result-bytes",
                  4 * kLen + 4 * kLen * kLen, rpc::Limits().max_result_bytes);
}

TEST(ServiceLimits, WorkspaceThatIsTooLargeNamesFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_workspace_bytes = 1;
  TestServer server(config);
  const Refusal refusal = ComputeOn(server, SmallRequest());
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-workspace-bytes");
  const int64_t in_place = std::stoll(refusal.metadata.at("needed"));
  // Half precision cannot be used in place: query and output take four bytes an
  // element more.
  auto half = SmallRequest();
  *half.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT16, {10, 4}, Elements(half.query()));
  ExpectOverLimit(ComputeOn(server, half), "--max-workspace-bytes",
                  in_place + int64_t{2} * 4 * 10 * 4, 1);
}

TEST(ServiceLimits, TooManyMultiplyAddsNameFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_multiply_adds = int64_t{10} * 10 * (4 + 4);
  TestServer server(config);
  auto request = SmallRequest();
  EXPECT_EQ(ComputeOn(server, request).code, grpc::StatusCode::OK);
  *request.mutable_query() = Floats({11, 4});
  ExpectOverLimit(ComputeOn(server, request), "--max-multiply-adds",
                  int64_t{11} * 11 * (4 + 4), config.limits.max_multiply_adds);
}

TEST(ServiceLimits, AxisThatIsTooLongIsRefused) {
  auto config = TestServer::TestConfig();
  config.limits.max_axis = 9;
  TestServer server(config);
  const Refusal refusal = ComputeOn(server, SmallRequest());
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
  EXPECT_EQ(refusal.field, "query.shape[0]");
  EXPECT_THAT(refusal.description, HasSubstr("0 to 9 (max_axis)"));
}

TEST(ServiceLimits, MessageThatIsTooLargeNamesFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = 1000;
  TestServer server(config);
  auto request = SmallRequest();
  EXPECT_EQ(ComputeOn(server, request).code, grpc::StatusCode::OK);
  *request.mutable_query() = Floats({100, 100});
  ExpectOverLimit(ComputeOn(server, request), "--max-message-bytes",
                  static_cast<int64_t>(request.ByteSizeLong()), 1000);
}

TEST(ServiceLimits, OneRequestTooManyMayComeBackLater) {
  auto config = TestServer::TestConfig();
  config.limits.max_requests_in_flight = 1;
  TestServer server(config);
  {
    EndlessCall in_flight(server);
    const Refusal refusal = ComputeOn(server, SmallRequest());
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_THAT(refusal.message, HasSubstr("holds 1 requests"));
    EXPECT_THAT(refusal.message, HasSubstr("--max-requests-in-flight"));
    EXPECT_EQ(refusal.reason, "BUSY");
    EXPECT_TRUE(refusal.retry);
    // What tells about the server is answered all the same.
    v1::GetServerInfoResponse info;
    EXPECT_TRUE(server.client().Info(&info).ok());
    EXPECT_TRUE(IsServing(server.server().InProcessChannel(), ""));
  }
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_EQ(ComputeOn(server, SmallRequest()).code, grpc::StatusCode::OK);
}

TEST(ServiceLimits, ClientThatWaitsForEachAnswerNeverMeetsItself) {
  auto config = TestServer::TestConfig();
  config.limits.max_requests_in_flight = 1;
  TestServer server(config);
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(ComputeOn(server, SmallRequest()).code, grpc::StatusCode::OK);
  }
}

TEST(ServiceLimits, BytesThatAreTakenMayBeFreeLater) {
  const auto endless = static_cast<int64_t>(EndlessRequest().ByteSizeLong());
  TestServer server(TestServer::ConfigOfMemory(4 * endless));
  auto request = SmallRequest();
  *request.mutable_query() = Floats({endless / 4, 1});
  *request.mutable_key() = Floats({1, 1});
  {
    EndlessCall in_flight(server);
    // Its message, its output and scratch are taken; not even a message of the
    // same size is free.
    Refusal refusal = ComputeOn(server, request);
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_THAT(refusal.message, HasSubstr("--memory-limit"));
    EXPECT_EQ(refusal.reason, "BUSY");
    EXPECT_TRUE(refusal.retry) << refusal;
    // This one takes more than the whole: its matrix is 16 times its query.
    *request.mutable_query() = Floats({endless / 10, 1});
    *request.mutable_key() = Floats({16, 1});
    request.mutable_attention_matrix()->set_stage(
        v1::AttentionMatrixOptions::STAGE_SCORES);
    refusal = ComputeOn(server, request);
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_EQ(refusal.metadata.at("flag"), "--memory-limit");
    EXPECT_FALSE(refusal.retry) << refusal;
  }
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  *request.mutable_query() = Floats({endless / 4, 1});
  request.clear_attention_matrix();
  EXPECT_EQ(ComputeOn(server, request).code, grpc::StatusCode::OK);
}

TEST(ServiceLimits, CancellationReachesTheComputation) {
  LogLines log;
  TestServer server;
  EndlessCall call(server);
  // So it is being computed, not waiting.
  EXPECT_EQ(ComputeOn(server, SmallRequest()).code, grpc::StatusCode::OK);
  EXPECT_EQ(call.Cancel().error_code(), grpc::StatusCode::CANCELLED);
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  // A computation that went on to its end would be logged as OK.
  EXPECT_THAT(log.With("code=CANCELLED"), SizeIs(1));
  EXPECT_THAT(log.With("code=OK"), SizeIs(1));
}

TEST(ServiceLimits, DeadlineReachesTheComputation) {
  LogLines log;
  TestServer server;
  const v1::ComputeAttentionRequest request = EndlessRequest();
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(1));
  v1::ComputeAttentionResponse reply;
  const grpc::Status status =
      server.client().Compute(request, &reply, &context);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  // The client's cancellation may arrive before the server's own clock says so.
  EXPECT_THAT(log.With("code=OK"), IsEmpty());
  ASSERT_THAT(log.lines(), SizeIs(1));
  EXPECT_THAT(log.lines().front(), AnyOf(HasSubstr("code=DEADLINE_EXCEEDED"),
                                         HasSubstr("code=CANCELLED")));
}

TEST(ServiceLimits, LargeRequestDoesNotHoldUpTheOthers) {
  auto config = TestServer::TestConfig();
  config.threads = 1;
  TestServer server(config);
  EndlessCall in_flight(server);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ComputeOn(server, SmallRequest()).code, grpc::StatusCode::OK);
  }
  v1::SetWeightsRequest set;
  set.set_name("layer");
  *set.mutable_weights() = SmallWeightSet();
  v1::SetWeightsResponse set_reply;
  EXPECT_TRUE(server.client().Set(set, &set_reply).ok());
  EXPECT_TRUE(IsServing(server.server().InProcessChannel(), ""));
  EXPECT_FALSE(server.server().idle());
}

TEST(ServiceLimits, DrainingRefusesTheNewAndLetsTheOldGoOn) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  EXPECT_TRUE(IsServing(channel, ""));
  EXPECT_TRUE(IsServing(channel, "attention.v1.AttentionService"));
  EndlessCall in_flight(server);
  server.server().Drain();
  EXPECT_FALSE(IsServing(channel, ""));
  EXPECT_FALSE(IsServing(channel, "attention.v1.AttentionService"));
  const Refusal refusal = ComputeOn(server, SmallRequest());
  EXPECT_EQ(refusal.code, grpc::StatusCode::UNAVAILABLE) << refusal;
  EXPECT_EQ(refusal.reason, "DRAINING");
  EXPECT_FALSE(server.server().idle());
  // Stop cancels what is in flight, and returns.
  server.server().Stop();
  EXPECT_THAT(
      in_flight.Wait().error_code(),
      AnyOf(grpc::StatusCode::CANCELLED, grpc::StatusCode::UNAVAILABLE));
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
}

TEST(ServiceLimits, ShortCallInFlightIsAnsweredWhileDraining) {
  TestServer server;
  std::vector<std::thread> clients;
  clients.reserve(4);
  std::atomic<int> unexpected{0};
  for (int i = 0; i < 4; ++i) {
    clients.emplace_back([&] {
      for (int call = 0; call < 50; ++call) {
        const Refusal refusal = ComputeOn(server, SmallRequest());
        if (refusal.code != grpc::StatusCode::OK &&
            refusal.code != grpc::StatusCode::UNAVAILABLE) {
          ++unexpected;
        }
      }
    });
  }
  server.server().Drain();
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(unexpected, 0);
}

TEST(ServiceLimits, InfoTellsLimitsThreadsAndLibrary) {
  auto config = TestServer::TestConfig();
  config.threads = 3;
  config.limits = {1001, 1002, 1003, 1004, 1005, 1006, 7007,
                   1008, 11,   13.5, 1009, 1010, 7,    1.5};
  config.limits.connections.max_connections = 12;
  config.limits.connections.max_connection_idle_seconds = 17.5;
  TestServer server(config);
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(server.client().Info(&info).ok());
  EXPECT_EQ(info.version(), "1.2.3");
  EXPECT_EQ(info.compute_threads(), 3);
  EXPECT_EQ(info.blas().config(), "OpenBLAS of the test");
  EXPECT_EQ(info.blas().kernel(), "Kernel");
  EXPECT_EQ(info.blas().library_kernel(), "Taken");
  EXPECT_EQ(info.blas().kernel_because(), "it is the test's");
  EXPECT_EQ(info.vector_target(), core::StripTarget());
  EXPECT_FALSE(info.blas().fell_back());
  EXPECT_TRUE(info.blas().deterministic());
  EXPECT_EQ(info.blas().not_deterministic_because(), "");
  const v1::Limits& limits = info.limits();
  EXPECT_EQ(limits.max_message_bytes(), 1001);
  EXPECT_EQ(limits.max_result_bytes(), 1002);
  EXPECT_EQ(limits.max_workspace_bytes(), 1003);
  EXPECT_EQ(limits.max_multiply_adds(), 1004);
  EXPECT_EQ(limits.max_axis(), 1005);
  EXPECT_EQ(limits.max_requests_in_flight(), 1006);
  EXPECT_EQ(limits.memory_limit(), 7007);
  EXPECT_EQ(limits.max_stream_in_flight(), 1008);
  EXPECT_EQ(limits.max_weight_set_bytes(), 1009);
  EXPECT_EQ(limits.max_transfer_idle().seconds(), 1010);
  EXPECT_EQ(info.memory().limit(), 7007);
  EXPECT_EQ(info.memory().lendable(), 7007 - 875);
  EXPECT_EQ(info.memory().held(), 0);
  EXPECT_EQ(limits.max_open_streams(), 11);
  EXPECT_EQ(limits.max_stream_idle().seconds(), 13);
  EXPECT_EQ(limits.max_arriving_bytes(), 7);
  EXPECT_EQ(limits.receive_idle().seconds(), 1);
  EXPECT_EQ(limits.max_connections(), 12);
  EXPECT_EQ(limits.max_connection_idle().seconds(), 17);
  EXPECT_EQ(limits.max_connection_idle().nanos(), 500'000'000);
  EXPECT_THAT(info.features(), ElementsAre("stream-attention", "upload-weights",
                                           "inline-weights"));
}

TEST(ServiceMemory, VersionsAreInTheLedgerUntilTheyAreDeleted) {
  TestServer server;
  const memory::Ledger& ledger = server.server().ledger();
  v1::SetWeightsRequest request;
  request.set_name("layer");
  *request.mutable_weights() = SmallWeightSet(1, 64, 64, 64, 64);
  v1::SetWeightsResponse set;
  ASSERT_TRUE(server.client().Set(request, &set).ok());
  constexpr int64_t kBytes = int64_t{4} * (64 * 64 + 64) * 4;
  weights::WeightSetVersion::Record facts;
  facts.name = "layer";
  EXPECT_EQ(ledger.held(memory::Kind::kWeights),
            kBytes + weights::WeightSetVersion::FactsBytes(facts));
  EXPECT_EQ(ledger.held(memory::Kind::kConvertedWeights), 0);
  // In double they are twice as many.
  v1::ComputeAttentionRequest compute;
  *compute.mutable_query() =
      TensorOf(v1::DATA_TYPE_FLOAT64, {1, 64}, std::vector<double>(64, 0.5));
  compute.mutable_weight_set()->set_name("layer");
  EXPECT_EQ(ComputeOn(server, compute).code, grpc::StatusCode::OK);
  EXPECT_EQ(ledger.held(memory::Kind::kConvertedWeights), 2 * kBytes);
  v1::DeleteWeightsRequest remove;
  remove.set_name("layer");
  v1::DeleteWeightsResponse removed;
  ASSERT_TRUE(server.client().Delete(remove, &removed).ok());
  EXPECT_TRUE(WaitUntil([&] { return ledger.held() == 0; })) << ledger.held();
}

TEST(ServiceMemory, ConversionThatIsNotLentIsRefusedAndMayComeLater) {
  constexpr int64_t kWidth = 256;
  constexpr int64_t kElements = int64_t{3} * kWidth * kWidth;
  // To take the set in takes its message twice and the set, in half precision
  // and in float: ten bytes for each element. In double it is eight more than
  // those six that stay.
  TestServer server(TestServer::ConfigOfMemory(12 * kElements));
  v1::SetWeightsRequest request;
  request.set_name("layer");
  v1::WeightSet& weights = *request.mutable_weights();
  weights = SmallWeightSet(1, kWidth, kWidth, kWidth, kWidth);
  weights.clear_output();
  for (v1::Projection* projection :
       {weights.mutable_query(), weights.mutable_key(),
        weights.mutable_value()}) {
    projection->clear_bias();
    *projection->mutable_weight() =
        TensorOf(v1::DATA_TYPE_FLOAT16, {kWidth, kWidth},
                 std::vector<double>(kElements / 3, 0.5));
  }
  v1::SetWeightsResponse set;
  const Refusal taken(server.client().Set(request, &set));
  ASSERT_EQ(taken.code, grpc::StatusCode::OK) << taken;
  v1::ComputeAttentionRequest compute;
  *compute.mutable_query() = TensorOf(v1::DATA_TYPE_FLOAT64, {1, kWidth},
                                      std::vector<double>(kWidth, 0.5));
  compute.mutable_weight_set()->set_name("layer");
  for (int i = 0; i < 2; ++i) {
    const Refusal refusal = ComputeOn(server, compute);
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_EQ(refusal.field, "weight_set");
    EXPECT_EQ(refusal.metadata.at("flag"), "--memory-limit");
    EXPECT_TRUE(refusal.retry) << refusal;
  }
  compute.mutable_query()->CopyFrom(Floats({1, kWidth}));
  EXPECT_EQ(ComputeOn(server, compute).code, grpc::StatusCode::OK);
}

// The request ids in the trailers of a call that sent `id`, if not empty, and
// `request`.
std::vector<std::string> RequestIds(
    TestServer& server, const std::string& id,
    const v1::ComputeAttentionRequest& request) {
  grpc::ClientContext context;
  if (!id.empty()) context.AddMetadata("x-request-id", id);
  v1::ComputeAttentionResponse reply;
  server.client().Compute(request, &reply, &context);
  const auto [first, last] =
      context.GetServerTrailingMetadata().equal_range("x-request-id");
  std::vector<std::string> ids;
  for (auto found = first; found != last; ++found) {
    ids.emplace_back(found->second.begin(), found->second.end());
  }
  return ids;
}

TEST(ServiceLog, RequestIdOfTheClientComesBackWithEveryAnswer) {
  TestServer server;
  for (const auto& request : {SmallRequest(), v1::ComputeAttentionRequest()}) {
    EXPECT_THAT(RequestIds(server, "trace-1.a_B", request),
                ElementsAre("trace-1.a_B"));
  }
}

TEST(ServiceLog, RefusalHasARequestIdOfItsOwnWhereTheClientSentNone) {
  TestServer server;
  EXPECT_THAT(RequestIds(server, "", SmallRequest()), IsEmpty());
  std::set<std::string> made;
  for (const std::string& sent :
       {std::string(), std::string(), std::string(65, 'x'), std::string("a b"),
        std::string("a=b")}) {
    const auto ids = RequestIds(server, sent, {});
    ASSERT_THAT(ids, SizeIs(1));
    EXPECT_THAT(ids.front(), AllOf(Not(IsEmpty()), Not(sent)));
    made.insert(ids.front());
  }
  EXPECT_THAT(made, SizeIs(5));
}

TEST(ServiceLog, EachRequestIsOneLine) {
  LogLines log;
  TestServer server;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "the-id");
  const auto request = SmallRequest();
  v1::ComputeAttentionResponse reply;
  ASSERT_TRUE(server.client().Compute(request, &reply, &context).ok());
  EXPECT_EQ(ComputeOn(server, {}).code, grpc::StatusCode::INVALID_ARGUMENT);
  const auto lines = log.lines();
  ASSERT_THAT(lines, SizeIs(2));
  EXPECT_THAT(lines[0],
              StartsWith("debug ComputeAttention id=the-id code=OK "));
  EXPECT_THAT(lines[0], HasSubstr("request_bytes=" +
                                  std::to_string(request.ByteSizeLong())));
  EXPECT_THAT(lines[0],
              HasSubstr("reply_bytes=" + std::to_string(reply.ByteSizeLong())));
  for (const char* const figure : {"queue_us=", "compute_us=", "total_us="}) {
    EXPECT_THAT(lines[0], HasSubstr(figure));
  }
  EXPECT_THAT(lines[1], StartsWith("info ComputeAttention id="));
  EXPECT_THAT(lines[1], HasSubstr("code=INVALID_ARGUMENT"));
  EXPECT_THAT(lines[1], HasSubstr("error=\"query is required\""));
}

}  // namespace
}  // namespace attention
