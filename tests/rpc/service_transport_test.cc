// How messages of ComputeAttention travel, over an in-process channel and a
// socket: bytes, sizes, slices, damage.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr char kMethod[] = "/attention.v1.AttentionService/ComputeAttention";

// Everything a reply can carry.
v1::ComputeAttentionRequest EverythingOf(int64_t len, v1::DataType dtype) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() =
      TensorOf(dtype, {2, len, 4}, Elements(Floats({2, len, 4})));
  *request.mutable_attend_mask() = TensorOf(v1::DATA_TYPE_BOOL, {len}, [&] {
    std::vector<double> attend(static_cast<size_t>(len), 1);
    attend.back() = 0;
    return attend;
  }());
  *request.mutable_bias() = Floats({len, 1});
  request.set_num_heads(2);
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_BIASED);
  request.set_want_lse(true);
  return request;
}

TEST(ServiceTransport, ReplyHasTheBytesThatProtobufWrites) {
  TestServer server;
  const auto channel = server.server().InProcessChannel();
  for (const int64_t len : {0, 3, 100, 300}) {
    for (const auto dtype : {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_BFLOAT16}) {
      for (const bool top_k : {false, true}) {
        v1::ComputeAttentionRequest request =
            EverythingOf(std::max<int64_t>(len, 1), dtype);
        if (len == 0) *request.mutable_query() = TensorOf(dtype, {0, 3, 4}, {});
        if (len == 0) request.clear_attend_mask();
        if (len == 0) request.clear_bias();
        if (top_k) {
          request.clear_attention_matrix();
          request.set_top_k(2);
        }
        std::string bytes;
        const grpc::Status status =
            RawCall(channel, kMethod, request.SerializeAsString(), &bytes);
        ASSERT_TRUE(status.ok()) << Refusal(status);
        v1::ComputeAttentionResponse reply;
        ASSERT_TRUE(reply.ParseFromString(bytes));
        EXPECT_EQ(reply.SerializeAsString(), bytes) << len;
        EXPECT_EQ(reply.top_k().weights().shape_size(), top_k ? 4 : 0);
        EXPECT_EQ(reply.output().data().size(),
                  static_cast<size_t>(
                      2 * len * 4 * (dtype == v1::DATA_TYPE_FLOAT32 ? 4 : 2)));
      }
    }
  }
}

TEST(ServiceTransport, SocketAndProcessGiveTheSameBytes) {
  TestServer server;
  TestClient socket(SocketTo(server));
  // Up to where a message comes in many slices and frames.
  for (const int64_t len : {1, 100, 5000, 100'000}) {
    v1::ComputeAttentionRequest request;
    *request.mutable_query() = Floats({len, 16});
    *request.mutable_key() = Floats({3, 16}, 1);
    *request.mutable_value() = Floats({3, 17}, 2);
    v1::ComputeAttentionResponse near;
    v1::ComputeAttentionResponse far;
    ASSERT_TRUE(server.client().Compute(request, &near).ok());
    ASSERT_TRUE(socket.Compute(request, &far).ok());
    EXPECT_EQ(near.output().data(), far.output().data()) << len;
    EXPECT_THAT(far.output().data(), SizeIs(len * 17 * 4));
  }
}

TEST(ServiceTransport, DamagedMessageIsRefusedByItsName) {
  LogLines log;
  TestServer server;
  std::string reply;
  for (const std::string& bytes :
       {std::string("\xFF"), std::string("\x12\x05\x1A\x09x", 5),
        std::string(1000, '\x0B'), std::string("\x00\x00", 2)}) {
    const Refusal refusal(
        RawCall(server.server().InProcessChannel(), kMethod, bytes, &reply));
    EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT) << refusal;
    EXPECT_THAT(refusal.message,
                HasSubstr("attention.v1.ComputeAttentionRequest"));
    EXPECT_EQ(refusal.reason, "MALFORMED_MESSAGE");
  }
  EXPECT_THAT(log.With("code=INVALID_ARGUMENT"), SizeIs(4));
  // An empty message is a valid one that lacks a query.
  EXPECT_EQ(
      Refusal(RawCall(server.server().InProcessChannel(), kMethod, "", &reply))
          .field,
      "query");
}

TEST(ServiceTransport, RepeatedPartsOfAMessageAreMerged) {
  TestServer server;
  v1::ComputeAttentionRequest first;
  *first.mutable_query() = Floats({2, 3});
  first.mutable_query()->clear_shape();
  v1::ComputeAttentionRequest second;
  second.mutable_query()->add_shape(2);
  second.mutable_query()->add_shape(3);
  second.set_want_lse(true);
  std::string bytes;
  const grpc::Status status =
      RawCall(server.server().InProcessChannel(), kMethod,
              first.SerializeAsString() + second.SerializeAsString(), &bytes);
  ASSERT_TRUE(status.ok()) << Refusal(status);
  v1::ComputeAttentionResponse merged;
  ASSERT_TRUE(merged.ParseFromString(bytes));
  v1::ComputeAttentionRequest whole;
  *whole.mutable_query() = Floats({2, 3});
  whole.set_want_lse(true);
  v1::ComputeAttentionResponse expected;
  ASSERT_TRUE(server.client().Compute(whole, &expected).ok());
  EXPECT_EQ(merged.output().data(), expected.output().data());
  EXPECT_EQ(merged.lse().data(), expected.lse().data());
}

TEST(ServiceTransport, MessageBeyondTheLimitIsRefusedByFigureAndFlag) {
  auto config = TestServer::TestConfig();
  config.limits.max_message_bytes = 1000;
  TestServer server(config);
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({500, 1});
  v1::ComputeAttentionResponse reply;
  const Refusal refusal(server.client().Compute(request, &reply));
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_EQ(refusal.metadata.at("flag"), "--max-message-bytes");
  EXPECT_EQ(refusal.metadata.at("needed"),
            std::to_string(request.ByteSizeLong()));
}

TEST(ServiceTransport, ReplyMayOutliveTheServer) {
  std::string bytes;
  {
    TestServer server;
    v1::ComputeAttentionRequest request;
    *request.mutable_query() = Floats({10'000, 4});
    *request.mutable_key() = Floats({1, 4});
    ASSERT_TRUE(RawCall(server.server().InProcessChannel(), kMethod,
                        request.SerializeAsString(), &bytes)
                    .ok());
  }
  v1::ComputeAttentionResponse reply;
  ASSERT_TRUE(reply.ParseFromString(bytes));
  EXPECT_THAT(reply.output().data(), SizeIs(10'000 * 4 * 4));
}

TEST(ServiceTransport, ReflectionTellsTheServiceAndItsFile) {
  TestServer server;
  constexpr char kReflection[] =
      "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
  // ServerReflectionRequest.list_services is field 7, file_containing_symbol
  // field 4.
  const std::string listed =
      RawExchange(SocketTo(server), kReflection, std::string("\x3A\x00", 2));
  EXPECT_THAT(listed, HasSubstr("attention.v1.AttentionService"));
  const std::string symbol = "attention.v1.AttentionService";
  const std::string file = RawExchange(
      SocketTo(server), kReflection,
      std::string(1, '\x22') + static_cast<char>(symbol.size()) + symbol);
  EXPECT_THAT(file, HasSubstr("attention/v1/attention.proto"));
  EXPECT_THAT(file, HasSubstr("ComputeAttentionRequest"));
}

}  // namespace
}  // namespace attention
