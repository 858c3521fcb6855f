// What anyone may send to any method: broken, hostile and missing messages.
#include <gmock/gmock.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "proto/wire.h"
#include "tests/support/any_call.h"
#include "tests/support/broken_messages.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::HasSubstr;

TEST(ServiceMessages, EveryBrokenFieldOfEveryRequestIsMalformed) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  size_t sent = 0;
  for (const Method& method : AllMethods()) {
    for (const std::string& bytes : BrokenMessages(*method.request)) {
      ++sent;
      const auto status =
          StatusOf(method, CallAny(channel, method.path, {bytes}));
      ASSERT_EQ(status.code(), grpc::StatusCode::INVALID_ARGUMENT)
          << method.path << " " << testing::PrintToString(bytes)
          << status.message();
      ASSERT_EQ(ReasonOf(status), "MALFORMED_MESSAGE")
          << method.path << " " << status.message();
      ASSERT_EQ(Fault(status), "") << method.path << " " << status.message();
      ASSERT_THAT(status.message(), HasSubstr("expected a serialized"));
    }
  }
  EXPECT_GT(sent, 1000U);
}

TEST(ServiceMessages, WhatIsMalformedForOneMethodBreaksNoOther) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  for (const Method& method : AllMethods()) {
    for (const Method& other : AllMethods()) {
      if (other.request == method.request) continue;
      const auto all = BrokenMessages(*other.request);
      // Some tens of each are enough: those of the last are all fields deep.
      for (size_t i = 0; i < all.size(); i += 1 + all.size() / 40) {
        const AnyAnswer answer = CallAny(channel, method.path, {all[i]});
        const auto status = StatusOf(method, answer);
        if (status.code() == 0 || !answer.replies.empty()) continue;
        ASSERT_EQ(Fault(status), "")
            << method.path << " " << testing::PrintToString(all[i]) << " "
            << status.code() << " " << status.message();
      }
    }
  }
}

TEST(ServiceMessages, ACallWithoutAMessageIsToldSo) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  for (const Method& method : AllMethods()) {
    if (!method.reads_one) continue;
    const auto status = StatusOf(method, CallAny(channel, method.path, {}));
    EXPECT_EQ(status.code(), grpc::StatusCode::INVALID_ARGUMENT)
        << method.path << " " << status.message();
    EXPECT_EQ(ReasonOf(status), "MALFORMED_MESSAGE");
    EXPECT_THAT(status.message(), HasSubstr("without a whole message"));
  }
}

TEST(ServiceMessages, ACallThatIsGoneBeforeItsMessageHasComeBreaksNothing) {
  TestServer server;
  const auto channel = SocketTo(server);
  for (int round = 0; round < 20; ++round) {
    for (const Method& method : AllMethods()) {
      OpenCall call(channel, method.path);
      call.Cancel();
    }
  }
  EXPECT_TRUE(WaitUntil([&] { return server.server().idle(); }));
  EXPECT_TRUE(IsServing(channel, ""));
}

std::string Times(int64_t count, const std::string& part) {
  std::string bytes;
  for (int64_t i = 0; i < count; ++i) bytes += part;
  return bytes;
}

TEST(ServiceMessages, HostileMessagesAreRefusedByFieldAndFigure) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  constexpr int64_t kMany = int64_t{1} << 21;
  const std::string packed = Sized(std::string(kMany, '\1'));
  struct Case {
    std::string method;
    std::string bytes;
    std::string field;
    std::string words;
  };
  for (const Case& hostile : std::vector<Case>{
           {"SetWeights", Times(kMany, std::string("\x32\0", 2)), "labels",
            "has 2097152 entries; expected at most 64"},
           {"SetWeights", Times(kMany, std::string("\x3A\0", 2)), "annotations",
            "has 2097152 entries; expected at most 64"},
           {"ComputeAttention", TagOf(11, wire::kLengthDelimited) + packed,
            "query_offsets",
            "has 2097152 entries; expected at most 1, the batch"},
           {"ComputeAttention", TagOf(14, wire::kLengthDelimited) + packed,
            "key_lengths",
            "has 2097152 entries; expected at most 1, the batch"},
           {"ComputeAttention", "\x12" + Sized("\x12" + packed), "query.shape",
            "has 2097152 entries; expected at most 8"},
           {"StreamAttention",
            TagOf(2, wire::kLengthDelimited) +
                Sized(TagOf(11, wire::kLengthDelimited) + packed),
            "query_offsets", "expected at most 1, the batch"},
           {"UploadWeights",
            "\x0A" + Sized(Times(kMany, std::string("\x2A\0", 2))), "labels",
            "has 2097152 entries"},
           {"GetWeights", "\x0A" + Sized("\x0A" + packed), "weight_set.name",
            "has 2097152 bytes; expected at most 128"}}) {
    const Method method{"/attention.v1.AttentionService/" + hostile.method,
                        nullptr, true};
    const auto status =
        StatusOf(method, CallAny(channel, method.path, {hostile.bytes}));
    EXPECT_EQ(status.code(), grpc::StatusCode::INVALID_ARGUMENT)
        << hostile.method << " " << status.message();
    EXPECT_EQ(FieldOf(status), hostile.field);
    EXPECT_EQ(ReasonOf(status), "INVALID_FIELD");
    EXPECT_THAT(status.message(), HasSubstr(hostile.words));
  }
  EXPECT_TRUE(IsServing(channel, ""));
}

TEST(ServiceMessages, UnknownFieldsChangeNothing) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  const std::string unknown = TagOf(1000, wire::kVarint) + "\1";
  v1::ComputeAttentionRequest compute;
  *compute.mutable_query() = Floats({2, 3});
  v1::SetWeightsRequest set;
  set.set_name("layer");
  *set.mutable_weights() = SmallWeightSet();
  // Few, which are read in place, and many, which are left out.
  for (const int64_t count : {1, 100'000}) {
    const std::string fields = Times(count, unknown);
    const AnyAnswer computed = CallAny(
        channel, "/attention.v1.AttentionService/ComputeAttention",
        {fields + compute.SerializeAsString() + "\x12" + Sized(fields)});
    EXPECT_TRUE(computed.status.ok()) << computed.status.error_message();
    v1::ComputeAttentionResponse expected;
    ASSERT_TRUE(server.client().Compute(compute, &expected).ok());
    v1::ComputeAttentionResponse response;
    ASSERT_EQ(computed.replies.size(), 1U);
    ASSERT_TRUE(response.ParseFromString(computed.replies.front()));
    EXPECT_EQ(response.output().data(), expected.output().data());
    EXPECT_TRUE(CallAny(channel, "/attention.v1.AttentionService/SetWeights",
                        {set.SerializeAsString() + fields})
                    .status.ok());
  }
}

TEST(ServiceMessages, MethodsWithoutAPlaceTakeShortMessagesOnly) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  const std::string unknown = TagOf(15, wire::kVarint) + "\1";
  for (const char* method :
       {"/attention.v1.AttentionService/GetServerInfo",
        "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/"
        "ServerReflectionInfo"}) {
    const AnyAnswer taken = CallAny(channel, method, {Times(2048, unknown)});
    EXPECT_FALSE(taken.replies.empty()) << method;
    const AnyAnswer refused = CallAny(channel, method, {Times(2049, unknown)});
    const Refusal refusal(refused.status);
    EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << method;
    EXPECT_EQ(refusal.reason, "LIMIT_EXCEEDED");
    EXPECT_THAT(refusal.message, HasSubstr("the message has 4098 bytes; "));
    EXPECT_THAT(refusal.message, HasSubstr("takes at most 4096"));
  }
}

TEST(ServiceMessages, AnyMessageBeyondTheLimitIsRefusedByFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = 1000;
  TestServer server(config);
  const auto channel = server.server().InProcessChannel();
  for (const char* name :
       {"ComputeAttention", "StreamAttention", "SetWeights", "UploadWeights",
        "GetWeights", "ListWeights", "DeleteWeights", "SetLabel"}) {
    const Method method{std::string("/attention.v1.AttentionService/") + name,
                        nullptr, true};
    for (const size_t size : {size_t{1001}, size_t{80} << 20U}) {
      // Nothing in it could be parsed: it is not looked at.
      const auto status = StatusOf(
          method, CallAny(channel, method.path, {std::string(size, '\xFF')}));
      EXPECT_EQ(status.code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
          << name << " " << status.message();
      EXPECT_EQ(ReasonOf(status), "LIMIT_EXCEEDED");
      EXPECT_THAT(status.message(), HasSubstr("--max-message-bytes"));
      EXPECT_THAT(status.message(), HasSubstr(std::to_string(size)));
    }
  }
}

TEST(ServiceMessages, UnknownMethodsAreToldWhatThereIs) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  Refusal refusal(
      CallAny(channel, "/attention.v1.AttentionService/Compute", {}).status);
  EXPECT_EQ(refusal.code, grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(refusal.reason, "UNKNOWN_METHOD");
  EXPECT_THAT(refusal.message,
              HasSubstr("no method \"/attention.v1.AttentionService/Compute\"; "
                        "attention.v1.AttentionService has ComputeAttention, "
                        "StreamAttention, SetWeights"));
  refusal = Refusal(CallAny(channel,
                            "/attention.v2.AttentionService/ComputeAttention",
                            {std::string(size_t{1} << 20U, 'x')})
                        .status);
  EXPECT_EQ(refusal.code, grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(refusal.reason, "UNKNOWN_METHOD");
  EXPECT_THAT(
      refusal.message,
      HasSubstr("this server has the services "
                "attention.v1.AttentionService, grpc.health.v1.Health"));
  // Text of a client is quoted and cut.
  refusal = Refusal(CallAny(channel, "/" + std::string(5000, 'x'), {}).status);
  EXPECT_LT(refusal.message.size(), 500U);
}

}  // namespace
}  // namespace attention
