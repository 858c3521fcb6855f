// The client library against a server that says what each test needs.
#include "attention/client.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "attention/v1/attention.grpc.pb.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"

namespace attention::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Answers every call with what is set here.
class FakeService final : public v1::AttentionService::Service {
 public:
  grpc::Status status;
  v1::ComputeAttentionResponse response;
  std::vector<v1::GetWeightsResponse> weights;
  std::vector<std::string> pages;  // one weight set each
  bool hang = false;               // until the caller gives up
  v1::ComputeAttentionRequest received;

  grpc::Status ComputeAttention(grpc::ServerContext* context,
                                const v1::ComputeAttentionRequest* request,
                                v1::ComputeAttentionResponse* out) override {
    while (hang && !context->IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    received = *request;
    *out = response;
    return status;
  }

  // Reads `batch` requests, and answers them in reverse order with their id as
  // the output; an empty request is refused with `status`. Ends with `status`
  // after `end_after` requests.
  size_t batch = 1;
  size_t end_after = SIZE_MAX;
  std::function<void(size_t)> on_batch = [](size_t) {};

  grpc::Status StreamAttention(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::StreamAttentionResponse,
                               v1::StreamAttentionRequest>* stream) override {
    std::vector<v1::StreamAttentionRequest> requests;
    size_t read = 0;
    const auto answer_all = [&] {
      for (; !requests.empty(); requests.pop_back()) {
        v1::StreamAttentionResponse answer;
        answer.set_id(requests.back().id());
        if (requests.back().request().has_query()) {
          answer.mutable_response()->mutable_output()->add_values(
              static_cast<double>(answer.id()));
        } else {
          answer.mutable_error()->ParseFromString(status.error_details());
        }
        stream->Write(answer);
      }
    };
    v1::StreamAttentionRequest request;
    while (read < end_after && stream->Read(&request)) {
      ++read;
      requests.push_back(request);
      if (requests.size() < batch) continue;
      on_batch(read);
      answer_all();
    }
    if (read == end_after) return status;
    answer_all();
    return grpc::Status::OK;
  }

  grpc::Status GetWeights(
      grpc::ServerContext*, const v1::GetWeightsRequest*,
      grpc::ServerWriter<v1::GetWeightsResponse>* writer) override {
    for (const auto& message : weights) writer->Write(message);
    return status;
  }

  grpc::Status ListWeights(grpc::ServerContext*,
                           const v1::ListWeightsRequest* request,
                           v1::ListWeightsResponse* out) override {
    const size_t page =
        request->page_token().empty() ? 0 : std::stoul(request->page_token());
    out->add_versions()->mutable_version()->set_name(pages.at(page));
    if (page + 1 < pages.size()) {
      out->set_next_page_token(std::to_string(page + 1));
    }
    return status;
  }
};

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
  }

  std::string target() const { return "127.0.0.1:" + std::to_string(port_); }

  FakeService service_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

grpc::Status Refusal(grpc::StatusCode code, const std::string& message,
                     const google::protobuf::Message& detail) {
  google::rpc::Status details;
  details.set_code(code);
  details.set_message(message);
  details.add_details()->PackFrom(detail);
  return {code, message, details.SerializeAsString()};
}

TEST_F(ClientTest, AnswerArrives) {
  service_.response.mutable_output()->add_values(0.5);
  const auto response = Client(target()).ComputeAttention({});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_THAT(response->output().values(), ElementsAre(0.5));
}

// Of a size that goes out without a copy.
std::shared_ptr<const v1::ComputeAttentionRequest> LargeRequest() {
  auto request = std::make_shared<v1::ComputeAttentionRequest>();
  request->mutable_query()->mutable_data()->resize(1 << 20, 'q');
  request->set_causal(true);
  return request;
}

TEST_F(ClientTest, SharedRequestArrivesAndIsLetGo) {
  service_.response.mutable_output()->add_values(0.5);
  const auto request = LargeRequest();
  {
    const Client client(target());
    const auto response = client.ComputeAttentionShared(request);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_THAT(response->output().values(), ElementsAre(0.5));
  }
  EXPECT_EQ(service_.received.SerializeAsString(),
            request->SerializeAsString());
  // gRPC's threads may still be about to.
  for (int i = 0; i < 10'000 && request.use_count() > 1; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(request.use_count(), 1);
}

TEST_F(ClientTest, SharedRequestIsRefusedAsAnyOther) {
  service_.status =
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                   "Received message larger than max (200 vs. 100)");
  const Client client(target());
  EXPECT_EQ(client.ComputeAttentionShared(LargeRequest()).status(),
            client.ComputeAttention(*LargeRequest()).status());
}

TEST_F(ClientTest, SharedRequestObeysItsDeadline) {
  service_.hang = true;
  const absl::Status status =
      Client(target())
          .ComputeAttentionShared(LargeRequest(),
                                  Within(std::chrono::milliseconds(20)))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, RefusalKeepsCodeMessageAndFields) {
  google::rpc::BadRequest detail;
  auto* violation = detail.add_field_violations();
  violation->set_field("key.shape[2]");
  violation->set_description("is 64 but query.shape[2] is 128");
  service_.status =
      Refusal(grpc::StatusCode::INVALID_ARGUMENT, "the message", detail);

  const auto response = Client(target()).ComputeAttention({});
  EXPECT_EQ(response.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(response.status().message(), "the message");
  const auto violations = FieldViolations(response.status());
  ASSERT_EQ(violations.size(), 1u);
  EXPECT_EQ(violations[0].field, "key.shape[2]");
  EXPECT_EQ(violations[0].description, "is 64 but query.shape[2] is 128");
  EXPECT_FALSE(RetryDelay(response.status()).has_value());
}

TEST_F(ClientTest, RetryDelayIsRead) {
  google::rpc::RetryInfo detail;
  detail.mutable_retry_delay()->set_seconds(2);
  detail.mutable_retry_delay()->set_nanos(5);
  service_.status =
      Refusal(grpc::StatusCode::RESOURCE_EXHAUSTED, "later", detail);

  const absl::Status status = Client(target()).ComputeAttention({}).status();
  EXPECT_EQ(RetryDelay(status), std::chrono::nanoseconds(2'000'000'005));
  EXPECT_THAT(FieldViolations(status), IsEmpty());
}

TEST_F(ClientTest, DamagedDetailsLeaveCodeAndMessage) {
  service_.status =
      grpc::Status(grpc::StatusCode::NOT_FOUND, "no such set", "\xff\xff");
  const absl::Status status = Client(target()).ComputeAttention({}).status();
  EXPECT_EQ(status, absl::NotFoundError("no such set"));
}

TEST_F(ClientTest, ReplyBeyondGrpcsOwnLimitArrives) {
  constexpr size_t kBytes = 5 << 20;  // gRPC's default is 4 MiB
  service_.response.mutable_output()->set_data(std::string(kBytes, 'x'));
  const auto response = Client(target()).ComputeAttention({});
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->output().data().size(), kBytes);
}

TEST_F(ClientTest, ReplyBeyondTheLimitNamesTheOption) {
  service_.response.mutable_output()->set_data(std::string(4096, 'x'));
  ClientOptions options;
  options.max_reply_bytes = 1024;
  const absl::Status status =
      Client(target(), options).ComputeAttention({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("ClientOptions::max_reply_bytes"));
}

TEST_F(ClientTest, RequestBeyondTheServersGrpcNamesTheFlag) {
  service_.status =
      grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED,
                   "Received message larger than max (200 vs. 100)");
  const absl::Status status = Client(target()).ComputeAttention({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the request is beyond the server's "
                        "--max-message-bytes"));
}

TEST_F(ClientTest, DeadlineEndsTheCall) {
  service_.hang = true;
  const absl::Status status =
      Client(target())
          .ComputeAttention({}, Within(std::chrono::milliseconds(20)))
          .status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(ClientTest, EndlessTimeoutIsNoDeadline) {
  EXPECT_EQ(Within(std::chrono::nanoseconds::max()).deadline,
            CallOptions().deadline);
}

TEST_F(ClientTest, NobodyThereIsUnavailable) {
  server_->Shutdown();
  const absl::Status status = Client(target()).ComputeAttention({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
}

TEST_F(ClientTest, ProxyIsNotAskedForThisMachine) {
  setenv("http_proxy", "http://127.0.0.1:1", 1);  // nobody listens there
  const absl::Status status = Client(target()).ComputeAttention({}).status();
  unsetenv("http_proxy");
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(ClientTest, HealthIsAsked) {
  const Client client(target());
  EXPECT_EQ(client.IsServing().value(), true);
  server_->GetHealthCheckService()->SetServingStatus(false);
  EXPECT_EQ(client.IsServing().value(), false);
}

TEST_F(ClientTest, AllPagesAreListed) {
  service_.pages = {"first", "second", "third"};
  const auto versions = Client(target()).ListAllWeights({});
  ASSERT_TRUE(versions.ok()) << versions.status();
  std::vector<std::string> names;
  for (const auto& summary : *versions) {
    names.push_back(summary.version().name());
  }
  EXPECT_THAT(names, ElementsAre("first", "second", "third"));
}

TEST_F(ClientTest, StreamThatBreaksTheRulesIsDataLoss) {
  service_.weights.resize(1);
  service_.weights[0].mutable_chunk()->set_tensor("query.weight");
  const absl::Status status = Client(target()).GetWeights({}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(ClientTest, ErrorAfterPartOfAStreamIsTheServers) {
  service_.weights.resize(1);
  service_.weights[0].mutable_header();
  service_.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  EXPECT_EQ(Client(target()).GetWeights({}).status(),
            absl::UnavailableError("draining"));
}

v1::ComputeAttentionRequest WithQuery() {
  v1::ComputeAttentionRequest request;
  request.mutable_query()->add_values(1);
  return request;
}

// What a stream answered, by id; an id that is answered twice is a failure.
struct Answers {
  std::map<uint64_t, absl::StatusOr<v1::ComputeAttentionResponse>> by_id;
  std::vector<uint64_t> order;

  AttentionStream::OnAnswer Collect() {
    return [this](AttentionStream::Answer answer) {
      order.push_back(answer.id);
      const bool first =
          by_id.emplace(answer.id, std::move(answer.response)).second;
      EXPECT_TRUE(first) << answer.id;
    };
  }
};

TEST_F(ClientTest, StreamAnswersEveryRequestOnceInTheServersOrder) {
  service_.batch = 3;
  const Client client(target());
  Answers answers;
  const auto stream = client.OpenStream(answers.Collect());
  for (const uint64_t id : {0, 7, 5, 1, 2}) {
    EXPECT_TRUE(stream->Send(id, WithQuery()).ok());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(answers.order, ElementsAre(5, 7, 0, 2, 1));
  for (const auto& [id, response] : answers.by_id) {
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_THAT(response->output().values(),
                ElementsAre(static_cast<double>(id)));
  }
}

TEST_F(ClientTest, RefusalInAStreamIsOneAnswerWithItsFields) {
  google::rpc::BadRequest detail;
  detail.add_field_violations()->set_field("query");
  service_.status =
      Refusal(grpc::StatusCode::INVALID_ARGUMENT, "query is required", detail);
  const Client client(target());
  Answers answers;
  const auto stream = client.OpenStream(answers.Collect());
  EXPECT_TRUE(stream->Send(1, {}).ok());
  EXPECT_TRUE(stream->Send(2, WithQuery()).ok());
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_EQ(answers.by_id.size(), 2u);
  const absl::Status refused = answers.by_id.at(1).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused.message(), "query is required");
  ASSERT_EQ(FieldViolations(refused).size(), 1u);
  EXPECT_EQ(FieldViolations(refused)[0].field, "query");
  EXPECT_TRUE(answers.by_id.at(2).ok());
}

TEST_F(ClientTest, StreamHasNoMoreUnansweredThanItsBound) {
  service_.batch = 2;
  std::atomic<size_t> sent{0};
  // Where the server has read n of them and answered n - 2, n are sent at most.
  service_.on_batch = [&](size_t read) { EXPECT_LE(sent, read); };
  const Client client(target());
  Answers answers;
  StreamOptions options;
  options.max_in_flight = 2;
  const auto stream = client.OpenStream(answers.Collect(), options);
  for (uint64_t id = 0; id < 100; ++id) {
    ASSERT_TRUE(stream->Send(id, WithQuery()).ok());
    ++sent;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers.by_id.size(), 100u);
}

TEST_F(ClientTest, StreamThatIsFullWaitsForRoomForAGroup) {
  StreamOptions options;
  options.max_in_flight = 16;  // in groups of 2
  std::atomic<int> sent{0};
  std::atomic<int> answered{0};
  service_.on_batch = [&](size_t read) {
    while (read == 1 && sent < 16) std::this_thread::yield();
    if (read != 2) return;
    while (answered < 1) std::this_thread::yield();
    // Were one answer enough, another request would go now.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(sent, 16);
  };
  const Client client(target());
  const auto stream = client.OpenStream(
      [&](const AttentionStream::Answer&) { ++answered; }, options);
  for (uint64_t id = 0; id < 40; ++id) {
    ASSERT_TRUE(stream->Send(id, WithQuery()).ok());
    ++sent;
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answered, 40);
}

TEST_F(ClientTest, StreamThatBreaksAnswersWhatIsLeftWithTheReason) {
  service_.batch = 10;
  service_.end_after = 3;
  service_.status = grpc::Status(grpc::StatusCode::UNAVAILABLE, "draining");
  const Client client(target());
  Answers answers;
  const auto stream = client.OpenStream(answers.Collect());
  for (uint64_t id = 1; id <= 3; ++id) {
    EXPECT_TRUE(stream->Send(id, WithQuery()).ok());
  }
  // Taken until the end is known, refused then.
  absl::Status sent;
  uint64_t taken = 3;
  while (sent.ok()) {
    sent = stream->Send(taken + 1, WithQuery());
    if (sent.ok()) ++taken;
  }
  EXPECT_EQ(sent, absl::UnavailableError("draining"));
  EXPECT_EQ(stream->Finish(), absl::UnavailableError("draining"));
  EXPECT_EQ(answers.by_id.size(), taken);
  for (const auto& [id, response] : answers.by_id) {
    EXPECT_EQ(response.status(), absl::UnavailableError("draining")) << id;
  }
}

TEST_F(ClientTest, FinishedStreamTakesNoMore) {
  const Client client(target());
  Answers answers;
  const auto stream = client.OpenStream(answers.Collect());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(stream->Send(1, WithQuery()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(answers.order, IsEmpty());
}

TEST_F(ClientTest, DroppedStreamAnswersWhatIsLeft) {
  service_.batch = 10;
  const Client client(target());
  Answers answers;
  {
    const auto stream = client.OpenStream(answers.Collect());
    EXPECT_TRUE(stream->Send(1, WithQuery()).ok());
  }
  ASSERT_EQ(answers.by_id.size(), 1u);
  EXPECT_EQ(answers.by_id.at(1).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ClientTest, StreamObeysItsDeadline) {
  service_.batch = 10;
  const Client client(target());
  Answers answers;
  const auto stream = client.OpenStream(answers.Collect(), {},
                                        Within(std::chrono::milliseconds(50)));
  // Before or after the deadline: if it was taken, it is answered.
  const bool taken = stream->Send(1, WithQuery()).ok();
  absl::Status sent;
  for (uint64_t id = 2; sent.ok(); ++id) sent = stream->Send(id, WithQuery());
  EXPECT_EQ(sent.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(stream->Finish().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answers.by_id.count(1), taken ? 1u : 0u);
}

TEST_F(ClientTest, ManyThreadsShareAStream) {
  const Client client(target());
  Answers answers;
  StreamOptions options;
  options.max_in_flight = 5;
  const auto stream = client.OpenStream(answers.Collect(), options);
  std::vector<std::thread> senders;
  senders.reserve(4);
  for (uint64_t thread = 0; thread < 4; ++thread) {
    senders.emplace_back([&, thread] {
      for (uint64_t i = 0; i < 100; ++i) {
        EXPECT_TRUE(stream->Send(thread * 100 + i, WithQuery()).ok());
      }
    });
  }
  for (std::thread& sender : senders) sender.join();
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(answers.by_id.size(), 400u);
}

TEST_F(ClientTest, OwnChannelIsUsed) {
  service_.response.mutable_output()->add_values(1);
  const Client client(server_->InProcessChannel({}));
  EXPECT_TRUE(client.ComputeAttention({}).ok());
}

}  // namespace
}  // namespace attention::client
