#include "proto/split_request.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "proto/wire.h"

namespace attention {
namespace {

using ::testing::HasSubstr;
using Request = v1::ComputeAttentionRequest;

v1::Tensor WithData(std::string data) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor.add_shape(static_cast<int64_t>(data.size()));
  tensor.set_data(std::move(data));
  return tensor;
}

// `bytes` in one slice for each of `sizes`, and the rest in a last one.
std::vector<absl::string_view> Slices(absl::string_view bytes,
                                      const std::vector<size_t>& sizes) {
  std::vector<absl::string_view> slices;
  for (const size_t size : sizes) {
    slices.push_back(bytes.substr(0, size));
    bytes.remove_prefix(slices.back().size());
  }
  slices.push_back(bytes);
  return slices;
}

std::string Gathered(const ScatteredBytes& scattered) {
  std::string bytes(static_cast<size_t>(scattered.size), '\0');
  scattered.Copy(0, scattered.size, bytes.data());
  return bytes;
}

// What SplitRequest makes of `slices`, data put back; `ok` tells whether it
// accepted them.
Request SplitAndPutBack(absl::Span<const absl::string_view> slices, bool& ok) {
  Request message;
  PerTensor<ScatteredBytes> data;
  ok = SplitRequest(slices, message, data).ok();
  if (!ok) return {};
  const auto put_back = [](const ScatteredBytes& from, auto tensor) {
    if (from.size > 0) tensor()->set_data(Gathered(from));
  };
  put_back(data.query, [&] { return message.mutable_query(); });
  put_back(data.key, [&] { return message.mutable_key(); });
  put_back(data.value, [&] { return message.mutable_value(); });
  put_back(data.attend_mask, [&] { return message.mutable_attend_mask(); });
  put_back(data.bias, [&] { return message.mutable_bias(); });
  return message;
}

// The same bytes read by both: accepted by both or neither, and the same then.
void ExpectLikeProtobuf(const std::string& bytes,
                        const std::vector<size_t>& sizes) {
  Request expected;
  const bool accepted = expected.ParseFromString(bytes);
  bool ok = false;
  const Request found = SplitAndPutBack(Slices(bytes, sizes), ok);
  ASSERT_EQ(ok, accepted) << testing::PrintToString(bytes);
  if (ok) {
    ASSERT_EQ(found.SerializeAsString(), expected.SerializeAsString());
  }
}

// The same for a StreamAttentionRequest; its id is checked where it is valid.
void ExpectStreamLikeProtobuf(const std::string& bytes,
                              const std::vector<size_t>& sizes) {
  v1::StreamAttentionRequest expected;
  const bool accepted = expected.ParseFromString(bytes);
  v1::StreamAttentionRequest message;
  PerTensor<ScatteredBytes> data;
  const auto slices = Slices(bytes, sizes);
  ASSERT_EQ(SplitStreamRequest(slices, message, data).ok(), accepted);
  const uint64_t id = StreamRequestId(slices);
  if (!accepted) return;
  EXPECT_EQ(id, expected.id());
  EXPECT_EQ(message.id(), expected.id());
  EXPECT_EQ(message.has_request(), expected.has_request());
  EXPECT_EQ(Gathered(data.query), expected.request().query().data());
  EXPECT_EQ(Gathered(data.bias), expected.request().bias().data());
  EXPECT_EQ(message.request().weight_set().SerializeAsString(),
            expected.request().weight_set().SerializeAsString());
}

Request FullRequest() {
  Request request;
  request.mutable_weight_set()->set_name("layer");
  *request.mutable_query() = WithData("query bytes");
  *request.mutable_key() = WithData(std::string(300, 'k'));
  *request.mutable_value() = WithData("v");
  *request.mutable_attend_mask() = WithData(std::string("\1\0\1", 3));
  request.mutable_bias()->set_dtype(v1::DATA_TYPE_FLOAT64);
  request.mutable_bias()->add_values(0.5);
  request.set_num_heads(3);
  request.add_query_offsets(-1);
  request.set_softcap(2.5);
  request.mutable_dropout()->set_seed(uint64_t{1} << 63U);
  return request;
}

TEST(SplitRequest, ReadsWhatProtobufReadsWhereverSlicesEnd) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (const size_t second : {0, 1, 2, 50}) {
      ExpectLikeProtobuf(bytes, {first, second});
    }
  }
  ExpectLikeProtobuf(bytes, std::vector<size_t>(bytes.size(), 1));
}

TEST(SplitRequest, DataIsLeftWhereItIs) {
  const std::string bytes = FullRequest().SerializeAsString();
  const size_t start = bytes.find("query bytes");
  Request message;
  PerTensor<ScatteredBytes> data;
  ASSERT_TRUE(SplitRequest(Slices(bytes, {start + 4}), message, data).ok());
  ASSERT_EQ(data.query.pieces.size(), 2U);
  EXPECT_EQ(data.query.pieces[0].bytes.data(), bytes.data() + start);
  EXPECT_EQ(data.query.pieces[1].bytes.data(), bytes.data() + start + 4);
  EXPECT_EQ(data.query.size, 11);
  EXPECT_TRUE(message.query().data().empty());
  EXPECT_EQ(message.query().shape(0), 11);
}

TEST(SplitRequest, AnyPartCanBeCopied) {
  ScatteredBytes scattered;
  for (const char* piece : {"abc", "", "d", "efgh"}) scattered.Append(piece);
  for (int64_t first = 0; first <= 8; ++first) {
    for (int64_t count = 0; count <= 8 - first; ++count) {
      std::string copy(static_cast<size_t>(count), '?');
      scattered.Copy(first, count, copy.data());
      EXPECT_EQ(copy, std::string("abcdefgh").substr(first, count));
    }
  }
}

TEST(SplitRequest, FieldThatComesTwiceIsMergedAndItsLastDataWins) {
  Request first;
  *first.mutable_query() = WithData("first");
  Request second;
  second.mutable_query()->set_data("2");
  second.mutable_query()->add_shape(7);
  Request shape_only;
  shape_only.mutable_query()->add_shape(9);
  std::string bytes;
  for (const Request* part : {&first, &second, &shape_only}) {
    bytes += part->SerializeAsString();
  }
  bool ok = false;
  const Request found = SplitAndPutBack(Slices(bytes, {}), ok);
  ASSERT_TRUE(ok);
  EXPECT_EQ(found.query().data(), "2");
  EXPECT_THAT(found.query().shape(), testing::ElementsAre(5, 7, 9));
  ExpectLikeProtobuf(bytes, {3});
}

TEST(SplitRequest, DataThatComesAgainEmptyIsEmpty) {
  // Tensor{data: "ab", data: ""}.
  const std::string tensor(
      "\x1A\x02"
      "ab\x1A\x00",
      6);
  const std::string bytes =
      std::string("\x12") + static_cast<char>(tensor.size()) + tensor;
  Request message;
  PerTensor<ScatteredBytes> data;
  ASSERT_TRUE(SplitRequest(Slices(bytes, {}), message, data).ok());
  EXPECT_EQ(data.query.size, 0);
  EXPECT_TRUE(data.query.pieces.empty());
  ExpectLikeProtobuf(bytes, {});
}

TEST(SplitRequest, UnknownFieldsAreKeptAndNotSearched) {
  // Group 100 {query-like field 2 of 3 bytes}, then field 101.
  std::string bytes;
  wire::AppendVarint(wire::Tag(100, wire::kGroupStart), bytes);
  bytes += std::string("\x12\x03\x1A\x01x", 5);
  wire::AppendVarint(wire::Tag(100, wire::kGroupEnd), bytes);
  wire::AppendVarint(wire::Tag(101, wire::kLengthDelimited), bytes);
  bytes += std::string("\x02hi", 3);
  Request message;
  PerTensor<ScatteredBytes> data;
  ASSERT_TRUE(SplitRequest(Slices(bytes, {5}), message, data).ok());
  EXPECT_FALSE(message.has_query());
  EXPECT_EQ(data.query.size, 0);
  EXPECT_EQ(message.SerializeAsString(), bytes);
}

TEST(SplitRequest, BrokenBytesAreRefusedByTheNameOfTheMessage) {
  const std::string bytes = FullRequest().SerializeAsString();
  Request message;
  PerTensor<ScatteredBytes> data;
  const absl::Status status = SplitRequest(
      Slices(absl::string_view(bytes).substr(0, bytes.size() - 1), {}), message,
      data);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("attention.v1.ComputeAttentionRequest"));
}

TEST(SplitRequest, EveryPrefixIsReadLikeProtobuf) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ExpectLikeProtobuf(bytes.substr(0, size), {size / 2});
  }
}

TEST(SplitRequest, StreamedRequestsAreReadLikeProtobuf) {
  const google::protobuf::LogSilencer silence;
  v1::StreamAttentionRequest request;
  request.set_id(UINT64_MAX);
  *request.mutable_request() = FullRequest();
  const std::string bytes = request.SerializeAsString();
  std::mt19937 random(2);
  for (size_t at = 0; at < bytes.size(); ++at) {
    ExpectStreamLikeProtobuf(bytes, {at, 3});
    ExpectStreamLikeProtobuf(bytes.substr(0, at), {at / 2});
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(random());
    ExpectStreamLikeProtobuf(damaged, {at});
    // Merged with itself, and with another id.
    ExpectStreamLikeProtobuf(bytes + bytes.substr(at), {at});
    ExpectStreamLikeProtobuf(bytes + std::string("\x08\x05", 2), {at});
  }
  ExpectStreamLikeProtobuf("", {});
}

TEST(SplitRequest, IdInsideAnUnknownGroupIsNotTheId) {
  std::string bytes("\x08\x05", 2);
  wire::AppendVarint(wire::Tag(100, wire::kGroupStart), bytes);
  bytes += std::string("\x08\x06", 2);
  wire::AppendVarint(wire::Tag(100, wire::kGroupEnd), bytes);
  EXPECT_EQ(StreamRequestId(Slices(bytes, {1})), 5U);
  ExpectStreamLikeProtobuf(bytes, {3});
}

// Random damage to valid bytes: what protobuf still accepts, and only that, is
// accepted, with the same result.
TEST(SplitRequest, DamagedBytesAreReadLikeProtobuf) {
  const google::protobuf::LogSilencer silence;
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return random() % bound; };
  const std::string whole = FullRequest().SerializeAsString();
  const std::string tags("\x12\x1A\x22\x62\x6A\x13\x14\x0B\x80\x00\xFF\x10\x15",
                         13);
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes = below(2) == 0 ? whole : "";
    bytes.append(whole, below(whole.size()));
    for (size_t damage = 1 + below(4); damage > 0; --damage) {
      const size_t at = below(bytes.size() + 1);
      switch (below(4)) {
        case 0:
          bytes.insert(at, 1, tags[below(tags.size())]);
          break;
        case 1:
          bytes.erase(at, below(4));
          break;
        case 2:
          if (at < bytes.size()) bytes[at] = static_cast<char>(below(256));
          break;
        default:
          bytes.insert(at, bytes.substr(below(bytes.size() + 1), below(20)));
      }
    }
    ExpectLikeProtobuf(bytes, {below(bytes.size() + 1), below(9)});
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace attention
