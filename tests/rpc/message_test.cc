#include "server/rpc/door/message.h"

#include <gmock/gmock.h>
#include <grpcpp/support/slice.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "attention/v1/attention.pb.h"
#include "proto/wire.h"
#include "server/rpc/door/status.h"
#include "tests/support/service_fixture.h"

namespace attention::rpc {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kMaxAxis = 1000;

// `bytes` in slices of `size`.
grpc::ByteBuffer InSlices(const std::string& bytes, size_t size) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += size) {
    slices.emplace_back(bytes.substr(at, size));
  }
  return {slices.data(), slices.size()};
}

std::string Joined(const ReceivedBytes& received) {
  std::string joined;
  for (const absl::string_view piece : received.pieces()) {
    joined.append(piece.data(), piece.size());
  }
  return joined;
}

// A field that the contract does not have, of four bytes.
std::string Unknown(int count) {
  std::string one;
  wire::AppendVarint(wire::Tag(1000, wire::kVarint), one);
  wire::AppendVarint(300, one);
  std::string all;
  for (int i = 0; i < count; ++i) all += one;
  return all;
}

std::string Known() {
  v1::SetLabelRequest request;
  request.set_name("layer");
  request.set_label(std::string(60, 'l'));
  return request.SerializeAsString();
}

const WireContract& Contract() { return ContractOf<v1::SetLabelRequest>(); }

TEST(ReceivedBytes, UnknownFieldsAreLeftOut) {
  const std::string known = Known();
  grpc::ByteBuffer bytes = InSlices(Unknown(100) + known + Unknown(1), 64);
  ReceivedBytes received;
  received.Take(bytes);
  EXPECT_FALSE(bytes.Valid());
  ASSERT_TRUE(received.Check(Contract(), kMaxAxis).ok());
  EXPECT_EQ(Joined(received), known);
  EXPECT_EQ(received.pieces().size(), 1U);
  EXPECT_EQ(received.size(), known.size());
}

TEST(ReceivedBytes, FewUnknownFieldsAreReadWhereTheyAre) {
  const std::string sent = Unknown(10) + Known();
  grpc::ByteBuffer bytes = InSlices(sent, 64);
  ReceivedBytes received;
  received.Take(bytes);
  const char* const place = received.pieces().front().data();
  ASSERT_TRUE(received.Check(Contract(), kMaxAxis).ok());
  EXPECT_EQ(received.pieces().front().data(), place);
  EXPECT_EQ(Joined(received), sent);
}

TEST(ReceivedBytes, MorePiecesThanMayBeScatteredBecomeOne) {
  const std::string known = Known();
  for (const size_t most : {known.size() - 1, known.size()}) {
    grpc::ByteBuffer bytes = InSlices(known, 40);
    ReceivedBytes received;
    received.Take(bytes);
    ASSERT_TRUE(received.Check(Contract(), kMaxAxis, most).ok());
    EXPECT_EQ(received.pieces().size(), most < known.size() ? 1U : 2U);
    EXPECT_EQ(Joined(received), known);
  }
}

TEST(ReceivedBytes, RefusalsSayWhetherTheBytesAreAMessageAtAll) {
  const auto check = [](const std::string& sent) {
    grpc::ByteBuffer bytes = InSlices(sent, 10);
    ReceivedBytes received;
    received.Take(bytes);
    return Refusal(ToGrpcStatus(received.Check(Contract(), kMaxAxis)));
  };
  EXPECT_EQ(check("\x08\x01").reason, "MALFORMED_MESSAGE");
  EXPECT_EQ(check("\x08\x01").field, "name");
  std::string long_name = "\x0A\x80\x10";
  long_name += std::string(2048, 'n');
  EXPECT_EQ(check(long_name).reason, "INVALID_FIELD");
  EXPECT_EQ(check(long_name).field, "name");
}

TEST(ParseMessage, ReadsFromAnySlicesAndGivesThemBack) {
  v1::SetWeightsRequest request;
  request.set_name("layer");
  request.mutable_weights()->mutable_query()->mutable_weight()->set_data(
      std::string(size_t{3} << 20U, 'd'));
  for (const size_t size : {size_t{100}, size_t{65536}, size_t{4} << 20U}) {
    // Of several MiB, and of some bytes.
    for (const bool large : {true, false}) {
      v1::SetWeightsRequest sent = request;
      if (!large) sent.clear_weights();
      grpc::ByteBuffer bytes = InSlices(sent.SerializeAsString(), size);
      v1::SetWeightsRequest parsed;
      const absl::Status status = ParseMessage(
          bytes, ContractOf<v1::SetWeightsRequest>(), kMaxAxis, parsed);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_FALSE(bytes.Valid());
      EXPECT_EQ(parsed.SerializeAsString(), sent.SerializeAsString());
    }
  }
}

TEST(ParseMessage, WhatOnlyProtobufSeesIsMalformedToo) {
  // A packed number of eleven bytes, of which the walk sees the end.
  std::string bytes = "\x5A\x0B" + std::string(10, '\x80');
  bytes += '\1';
  grpc::ByteBuffer buffer = InSlices(bytes, 5);
  v1::ComputeAttentionRequest parsed;
  const Refusal refusal(ToGrpcStatus(ParseMessage(
      buffer, ContractOf<v1::ComputeAttentionRequest>(), kMaxAxis, parsed)));
  EXPECT_EQ(refusal.code, grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refusal.reason, "MALFORMED_MESSAGE");
  EXPECT_THAT(refusal.message,
              HasSubstr("not a serialized attention.v1.ComputeAttention"));
}

TEST(SerializeMessage, WritesWhatProtobufWrites) {
  for (const size_t size : {size_t{0}, size_t{5}, size_t{3} << 20U}) {
    v1::SetWeightsRequest message;
    message.set_name(std::string(size, 'n'));
    grpc::Slice whole;
    ASSERT_TRUE(SerializeMessage(message).DumpToSingleSlice(&whole).ok());
    EXPECT_EQ(
        std::string(reinterpret_cast<const char*>(whole.begin()), whole.size()),
        message.SerializeAsString());
  }
}

}  // namespace
}  // namespace attention::rpc
