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

absl::Status Granted(int64_t /*bytes*/) { return absl::OkStatus(); }

absl::Status Check(ReceivedBytes& received,
                   const WireContract& contract = Contract()) {
  return received.Check(contract, kMaxAxis, ReceivedBytes::Reading::kWhole,
                        Granted);
}

TEST(ReceivedBytes, UnknownFieldsAreLeftOut) {
  const std::string known = Known();
  grpc::ByteBuffer bytes = InSlices(Unknown(100) + known + Unknown(1), 64);
  ReceivedBytes received;
  received.Take(bytes);
  EXPECT_FALSE(bytes.Valid());
  ASSERT_TRUE(Check(received).ok());
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
  ASSERT_TRUE(Check(received).ok());
  EXPECT_EQ(received.pieces().front().data(), place);
  EXPECT_EQ(Joined(received), sent);
}

// Protobuf doubles a field that it reads from pieces as it goes, up to a
// chunk's worth.
TEST(ReceivedBytes, ManyPiecesOfALargeMessageBecomeOne) {
  constexpr size_t kMost = (size_t{1} << 20U) + (size_t{64} << 10U);
  v1::SetWeightsRequest request;
  for (const bool more : {false, true}) {
    std::string& data = *request.mutable_weights()
                             ->mutable_query()
                             ->mutable_weight()
                             ->mutable_data();
    data.assign(kMost, 'd');
    data.resize(2 * kMost - request.ByteSizeLong() + (more ? 1 : 0), 'd');
    const std::string sent = request.SerializeAsString();
    ASSERT_EQ(sent.size(), kMost + (more ? 1 : 0));
    grpc::ByteBuffer bytes = InSlices(sent, 65536);
    ReceivedBytes received;
    received.Take(bytes);
    ASSERT_TRUE(Check(received, ContractOf<v1::SetWeightsRequest>()).ok());
    EXPECT_EQ(received.pieces().size() == 1, more);
    EXPECT_EQ(Joined(received), sent);
  }
}

// Once for the message without the pieces it came in, and once as it is read.
TEST(ReceivedBytes, WhatReadingTakesIsChargedBeforeItIsTaken) {
  v1::SetWeightsRequest request;
  request.mutable_weights()->mutable_query()->mutable_weight()->set_data(
      std::string(size_t{3} << 20U, 'd'));
  const std::string sent = request.SerializeAsString();
  grpc::ByteBuffer bytes = InSlices(sent, 65536);
  ReceivedBytes received;
  received.Take(bytes);
  const size_t pieces = received.pieces().size();
  int64_t asked = 0;
  const absl::Status status =
      received.Check(ContractOf<v1::SetWeightsRequest>(), kMaxAxis,
                     ReceivedBytes::Reading::kWhole, [&](int64_t taken) {
                       asked += taken;
                       return absl::ResourceExhaustedError("none left");
                     });
  EXPECT_EQ(status.message(), "none left");
  EXPECT_EQ(asked, 2 * static_cast<int64_t>(sent.size()));
  EXPECT_EQ(received.pieces().size(), pieces);
}

TEST(ReceivedBytes, RefusalsSayWhetherTheBytesAreAMessageAtAll) {
  const auto check = [](const std::string& sent) {
    grpc::ByteBuffer bytes = InSlices(sent, 10);
    ReceivedBytes received;
    received.Take(bytes);
    return Refusal(ToGrpcStatus(Check(received)));
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
      const absl::Status status =
          ParseMessage(bytes, ContractOf<v1::SetWeightsRequest>(), kMaxAxis,
                       parsed, Granted);
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
  const Refusal refusal(ToGrpcStatus(
      ParseMessage(buffer, ContractOf<v1::ComputeAttentionRequest>(), kMaxAxis,
                   parsed, Granted)));
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
