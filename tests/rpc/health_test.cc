// grpc.health.v1 and grpc.reflection of a server, over an in-process channel.
#include "server/rpc/health.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "server/rpc/reflection.h"
#include "tests/support/any_call.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";
constexpr char kService[] = "attention.v1.AttentionService";

std::string AskFor(const std::string& service) {
  HealthCheckRequest request;
  request.set_service(service);
  return request.SerializeAsString();
}

std::optional<int> Next(OpenCall& watch) {
  const std::optional<std::string> bytes = watch.Receive();
  HealthCheckResponse response;
  if (!bytes || !response.ParseFromString(*bytes)) return std::nullopt;
  return response.status();
}

std::unique_ptr<OpenCall> StartWatch(TestServer& server,
                                     const std::string& service) {
  auto watch =
      std::make_unique<OpenCall>(server.server().InProcessChannel(), kWatch);
  watch->Send(AskFor(service));
  watch->EndSending();
  return watch;
}

TEST(Health, CheckKnowsTheServerAndItsService) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  EXPECT_TRUE(IsServing(channel, ""));
  EXPECT_TRUE(IsServing(channel, kService));
  const Refusal refusal(CallAny(channel, kCheck, {AskFor("other")}).status);
  EXPECT_EQ(refusal.code, grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(refusal.reason, "NOT_FOUND");
  EXPECT_EQ(refusal.field, "service");
  EXPECT_THAT(refusal.message, HasSubstr("\"other\""));
  EXPECT_THAT(refusal.message, HasSubstr(kService));
}

TEST(Health, WatchTellsTheStatusAndThenEachChange) {
  TestServer server;
  const auto all = StartWatch(server, "");
  const auto one = StartWatch(server, kService);
  const auto unknown = StartWatch(server, "other");
  EXPECT_EQ(Next(*all), HealthCheckResponse::SERVING);
  EXPECT_EQ(Next(*one), HealthCheckResponse::SERVING);
  EXPECT_EQ(Next(*unknown), HealthCheckResponse::SERVICE_UNKNOWN);
  server.server().Drain();
  EXPECT_EQ(Next(*all), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(Next(*one), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(IsServing(server.server().InProcessChannel(), ""));
  // Told twice, changed once.
  server.server().Drain();
  server.server().Stop();
  for (OpenCall* watch : {all.get(), one.get(), unknown.get()}) {
    EXPECT_EQ(Next(*watch), std::nullopt);
    const Refusal refusal(watch->Finish());
    EXPECT_EQ(refusal.code, grpc::StatusCode::UNAVAILABLE) << refusal;
    EXPECT_EQ(refusal.reason, "DRAINING");
  }
}

TEST(Health, WatchThatIsCancelledIsForgotten) {
  // Draining tells a watch whose end may not be known yet: both at once.
  for (int turn = 0; turn < 20; ++turn) {
    TestServer server;
    for (int i = 0; i < 3; ++i) {
      const auto watch = StartWatch(server, "");
      EXPECT_EQ(Next(*watch), HealthCheckResponse::SERVING);
      watch->Cancel();
      EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::CANCELLED);
    }
    server.server().Drain();
    server.server().Stop();
  }
}

TEST(Health, WatchesHaveALimit) {
  auto config = TestServer::TestConfig();
  config.limits.max_open_streams = 3;
  TestServer server(config);
  std::vector<std::unique_ptr<OpenCall>> watches;
  for (int i = 0; i < 3; ++i) {
    watches.push_back(StartWatch(server, ""));
    ASSERT_EQ(Next(*watches.back()), HealthCheckResponse::SERVING);
  }
  {
    const auto refused = StartWatch(server, "");
    EXPECT_EQ(Next(*refused), std::nullopt);
    const Refusal refusal(refused->Finish());
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
    EXPECT_EQ(refusal.reason, "BUSY");
    EXPECT_TRUE(refusal.retry);
  }
  // Checks go on, and a place that is given back is free again.
  EXPECT_TRUE(IsServing(server.server().InProcessChannel(), ""));
  watches.pop_back();
  EXPECT_TRUE(WaitUntil([&] {
    return Next(*StartWatch(server, "")) == HealthCheckResponse::SERVING;
  }));
}

class ReflectionTest : public testing::TestWithParam<const char*> {
 protected:
  ServerReflectionResponse Ask(const ServerReflectionRequest& request) {
    const AnyAnswer answer =
        CallAny(server_.server().InProcessChannel(),
                std::string("/grpc.reflection.") + GetParam() +
                    ".ServerReflection/ServerReflectionInfo",
                {request.SerializeAsString()});
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    ServerReflectionResponse response;
    if (answer.replies.size() == 1) {
      EXPECT_TRUE(response.ParseFromString(answer.replies.front()));
    }
    return response;
  }

  TestServer server_;
};
INSTANTIATE_TEST_SUITE_P(Versions, ReflectionTest,
                         testing::Values("v1", "v1alpha"));

TEST_P(ReflectionTest, EverythingThatIsListedCanBeDescribed) {
  ServerReflectionRequest list;
  list.set_list_services("");
  list.set_host("host");
  const ServerReflectionResponse listed = Ask(list);
  EXPECT_EQ(listed.valid_host(), "host");
  EXPECT_TRUE(listed.original_request().has_list_services());
  std::vector<std::string> names;
  for (const auto& service : listed.list_services_response().service()) {
    names.push_back(service.name());
  }
  EXPECT_THAT(names, ElementsAre(kService, "grpc.health.v1.Health",
                                 "grpc.reflection.v1.ServerReflection",
                                 "grpc.reflection.v1alpha.ServerReflection"));
  for (const std::string& name : names) {
    ServerReflectionRequest ask;
    ask.set_file_containing_symbol(name);
    const ServerReflectionResponse described = Ask(ask);
    const auto& files =
        described.file_descriptor_response().file_descriptor_proto();
    ASSERT_FALSE(files.empty()) << described.ShortDebugString();
    // What the files import comes after them.
    google::protobuf::DescriptorPool pool;
    for (int i = files.size() - 1; i >= 0; --i) {
      google::protobuf::FileDescriptorProto proto;
      ASSERT_TRUE(proto.ParseFromString(files[i]));
      ASSERT_NE(pool.BuildFile(proto), nullptr) << proto.name();
    }
    const auto* const service = pool.FindServiceByName(name);
    ASSERT_NE(service, nullptr) << name;
    EXPECT_GT(service->method_count(), 0);
    // A file by its name is the same one.
    ServerReflectionRequest by_name;
    by_name.set_file_by_filename(service->file()->name());
    EXPECT_EQ(Ask(by_name).file_descriptor_response().SerializeAsString(),
              described.file_descriptor_response().SerializeAsString());
  }
}

TEST_P(ReflectionTest, SymbolsOfAllKindsAreFound) {
  for (const char* symbol :
       {"attention.v1.Tensor", "attention.v1.Tensor.shape",
        "attention.v1.AttentionMatrixOptions.Stage",
        "attention.v1.AttentionMatrixOptions.STAGE_SCORES",
        "attention.v1.AttentionService.SetLabel",
        "attention.v1.WeightSetSelector.which",
        "attention.v1.UploadWeightsRequest.Header",
        "attention.v1.DATA_TYPE_BOOL", "google.protobuf.Timestamp"}) {
    ServerReflectionRequest request;
    request.set_file_containing_symbol(symbol);
    EXPECT_TRUE(Ask(request).has_file_descriptor_response()) << symbol;
  }
}

TEST_P(ReflectionTest, WhatIsNotThereIsNotFoundByName) {
  ServerReflectionRequest request;
  request.set_file_containing_symbol("attention.v1.Nothing");
  ServerReflectionResponse response = Ask(request);
  EXPECT_EQ(response.error_response().error_code(), 5);
  EXPECT_THAT(response.error_response().error_message(),
              HasSubstr("no symbol \"attention.v1.Nothing\""));
  request.set_file_by_filename("nothing.proto");
  response = Ask(request);
  EXPECT_EQ(response.error_response().error_code(), 5);
  // Compiled in, and below no service.
  request.set_file_by_filename("google/rpc/error_details.proto");
  EXPECT_EQ(Ask(request).error_response().error_code(), 5);
  request.mutable_file_containing_extension()->set_containing_type(
      "attention.v1.Tensor");
  EXPECT_EQ(Ask(request).error_response().error_code(), 5);
  request.set_all_extension_numbers_of_type("attention.v1.Nothing");
  EXPECT_EQ(Ask(request).error_response().error_code(), 5);
  request.set_all_extension_numbers_of_type("attention.v1.Tensor");
  response = Ask(request);
  EXPECT_EQ(response.all_extension_numbers_response().base_type_name(),
            "attention.v1.Tensor");
  EXPECT_TRUE(
      response.all_extension_numbers_response().extension_number().empty());
  EXPECT_EQ(Ask({}).error_response().error_code(), 3);
}

TEST_P(ReflectionTest, OneStreamAnswersManyQuestions) {
  OpenCall call(server_.server().InProcessChannel(),
                std::string("/grpc.reflection.") + GetParam() +
                    ".ServerReflection/ServerReflectionInfo");
  ServerReflectionRequest request;
  request.set_list_services("*");
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(call.Send(request.SerializeAsString()));
    EXPECT_TRUE(call.Receive().has_value());
  }
  call.EndSending();
  EXPECT_EQ(call.Receive(), std::nullopt);
  EXPECT_TRUE(call.Finish().ok());
}

TEST(Reflection, StreamsHaveALimitAndEndWithTheServer) {
  auto config = TestServer::TestConfig();
  config.limits.max_open_streams = 3;
  TestServer server(config);
  const auto channel = server.server().InProcessChannel();
  constexpr char kMethod[] =
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  ServerReflectionRequest request;
  request.set_list_services("");
  std::vector<std::unique_ptr<OpenCall>> streams;
  for (int i = 0; i < 3; ++i) {
    streams.push_back(std::make_unique<OpenCall>(channel, kMethod));
    ASSERT_TRUE(streams.back()->Send(request.SerializeAsString()));
    ASSERT_TRUE(streams.back()->Receive().has_value());
  }
  const Refusal refusal(CallAny(channel, kMethod, {}).status);
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.reason, "BUSY");
  EXPECT_TRUE(refusal.retry);
  server.server().Stop();
}

// A stream of reflection that asks once.
std::unique_ptr<OpenCall> OpenReflection(TestServer& server) {
  auto stream = std::make_unique<OpenCall>(
      server.server().InProcessChannel(),
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
  ServerReflectionRequest list;
  list.set_list_services("");
  stream->Send(list.SerializeAsString());
  return stream;
}

TEST(Reflection, StreamThatAsksNoMoreIsEnded) {
  auto config = TestServer::TestConfig();
  config.limits.max_transfer_idle_seconds = 0.05;
  TestServer server(config);
  const auto stream = OpenReflection(server);
  EXPECT_TRUE(stream->Receive().has_value());
  EXPECT_EQ(stream->Receive(), std::nullopt);
  const Refusal refusal(stream->Finish());
  EXPECT_EQ(refusal.code, grpc::StatusCode::ABORTED) << refusal;
  EXPECT_EQ(refusal.reason, "STALLED");
  EXPECT_THAT(refusal.message, HasSubstr("--max-transfer-idle"));
}

TEST(Reflection, StreamIsOneOfTheOpenStreamsAndEndsWhenTheServerDrains) {
  auto config = TestServer::TestConfig();
  config.limits.max_open_streams = 1;
  TestServer server(config);
  const auto stream = OpenReflection(server);
  EXPECT_TRUE(stream->Receive().has_value());
  const auto second = OpenReflection(server);
  EXPECT_EQ(second->Receive(), std::nullopt);
  EXPECT_EQ(Refusal(second->Finish()).metadata.at("flag"),
            "--max-open-streams");
  server.server().Drain();
  EXPECT_EQ(stream->Receive(), std::nullopt);
  EXPECT_EQ(Refusal(stream->Finish()).reason, "DRAINING");
}

}  // namespace
}  // namespace attention
