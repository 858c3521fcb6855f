// What anyone may send to any method: broken, hostile and missing messages.
#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "proto/wire.h"
#include "tests/support/any_call.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using ::testing::HasSubstr;

struct Method {
  std::string path;
  const Descriptor* request;
  bool reads_one;  // the request is no stream
};

std::vector<Method> AllMethods() {
  std::vector<Method> methods;
  const auto add = [&](const google::protobuf::ServiceDescriptor& service,
                       const std::string& name) {
    for (int i = 0; i < service.method_count(); ++i) {
      const auto& method = *service.method(i);
      methods.push_back({"/" + name + "/" + method.name(), method.input_type(),
                         !method.client_streaming()});
    }
  };
  const auto& attention = *v1::Tensor::descriptor()->file()->service(0);
  add(attention, attention.full_name());
  const auto& health =
      *grpc::health::v1::HealthCheckRequest::descriptor()->file()->service(0);
  add(health, health.full_name());
  const auto& reflection =
      *grpc::reflection::v1::ServerReflectionRequest::descriptor()
           ->file()
           ->service(0);
  add(reflection, reflection.full_name());
  add(reflection, "grpc.reflection.v1alpha.ServerReflection");
  return methods;
}

std::string TagOf(int field, uint32_t type) {
  std::string bytes;
  wire::AppendVarint(static_cast<uint32_t>(field) << 3U | type, bytes);
  return bytes;
}

std::string Sized(const std::string& body) {
  std::string bytes;
  wire::AppendVarint(body.size(), bytes);
  return bytes + body;
}

// What may stand behind a tag of each wire type.
std::string BodyOf(uint32_t type) {
  switch (type) {
    case wire::kVarint:
      return "\x01";
    case wire::kFixed64:
      return "12345678";
    case wire::kLengthDelimited:
      return Sized("x");
    case wire::kFixed32:
      return "1234";
    default:
      return "";
  }
}

uint32_t TypeOf(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
      return wire::kFixed64;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_MESSAGE:
      return wire::kLengthDelimited;
    default:
      return wire::kVarint;
  }
}

// Bytes in place of one field, none of which can be parsed.
std::vector<std::string> BrokenFields(const FieldDescriptor& field) {
  const uint32_t type = TypeOf(field);
  const std::string tag = TagOf(field.number(), type);
  std::vector<std::string> broken;
  for (uint32_t other = 0; other < 8; ++other) {
    const bool packed = field.is_packable() && other == wire::kLengthDelimited;
    if (other == type || packed) continue;
    broken.push_back(TagOf(field.number(), other) + BodyOf(other));
  }
  broken.push_back(tag);                                   // nothing behind it
  broken.push_back(tag + std::string(11, '\x80'));         // too long a varint
  broken.push_back(tag + std::string("\xFF\xFF\xFF", 3));  // cut
  if (type == wire::kFixed64) broken.push_back(tag + "1234567");
  if (type == wire::kLengthDelimited) {
    broken.push_back(tag + "\x7F" + "short");
    broken.push_back(tag + "\xFF\xFF\xFF\xFF\x0F");
  }
  if (field.type() == FieldDescriptor::TYPE_STRING) {
    broken.push_back(tag + Sized("\xC3\x28"));
  }
  if (field.is_packable()) {
    broken.push_back(TagOf(field.number(), wire::kLengthDelimited) +
                     Sized("\x80"));
  }
  return broken;
}

// Of every field of a message and of the messages inside it.
std::vector<std::string> BrokenMessages(const Descriptor& message) {
  std::vector<std::string> broken = {"\xFF",
                                     std::string("\0\0", 2),
                                     TagOf(1000, wire::kGroupStart),
                                     TagOf(1000, wire::kGroupEnd),
                                     TagOf(1000, 6),
                                     TagOf(1000, 2) + "\x7F"};
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const std::vector<std::string> of_field = BrokenFields(field);
    broken.insert(broken.end(), of_field.begin(), of_field.end());
    if (field.type() != FieldDescriptor::TYPE_MESSAGE) continue;
    for (const std::string& inside : BrokenMessages(*field.message_type())) {
      broken.push_back(TagOf(field.number(), wire::kLengthDelimited) +
                       Sized(inside));
    }
  }
  return broken;
}

// The status of the call or, for a message of StreamAttention, of its answer.
google::rpc::Status StatusOf(const Method& method, const AnyAnswer& answer) {
  google::rpc::Status status;
  if (method.path.find("StreamAttention") != std::string::npos &&
      !answer.replies.empty()) {
    v1::StreamAttentionResponse response;
    EXPECT_TRUE(response.ParseFromString(answer.replies.front()));
    return response.error();
  }
  status.ParseFromString(answer.status.error_details());
  status.set_code(answer.status.error_code());
  status.set_message(answer.status.error_message());
  return status;
}

// How a refusal breaks the promises of all refusals; empty if it does not.
std::string Fault(const google::rpc::Status& status) {
  switch (status.code()) {
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "the code";
    default:
      break;
  }
  if (status.message().empty()) return "no words";
  int reasons = 0;
  for (const auto& any : status.details()) {
    google::rpc::ErrorInfo info;
    if (!any.UnpackTo(&info)) continue;
    ++reasons;
    v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
    if (!v1::ErrorReason_Parse("ERROR_REASON_" + info.reason(), &reason)) {
      return "the reason " + info.reason();
    }
  }
  return reasons == 1 ? "" : "not one reason";
}

std::string ReasonOf(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& any : status.details()) {
    if (any.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::string FieldOf(const google::rpc::Status& status) {
  google::rpc::BadRequest bad_request;
  for (const auto& any : status.details()) {
    if (any.UnpackTo(&bad_request)) {
      return bad_request.field_violations(0).field();
    }
  }
  return "";
}

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
