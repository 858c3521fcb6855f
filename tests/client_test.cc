// The client library against a server that says what each test needs.
#include "attention/client.h"

#include <chrono>
#include <cstdlib>
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

  grpc::Status ComputeAttention(grpc::ServerContext* context,
                                const v1::ComputeAttentionRequest*,
                                v1::ComputeAttentionResponse* out) override {
    while (hang && !context->IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    *out = response;
    return status;
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

TEST_F(ClientTest, OwnChannelIsUsed) {
  service_.response.mutable_output()->add_values(1);
  const Client client(server_->InProcessChannel({}));
  EXPECT_TRUE(client.ComputeAttention({}).ok());
}

}  // namespace
}  // namespace attention::client
