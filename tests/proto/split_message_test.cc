#include "proto/split_message.h"

#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "attention/v1/attention.pb.h"
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

template <typename Message>
absl::Status Split(absl::Span<const absl::string_view> slices, Message& message,
                   CutTensors& cut) {
  return SplitMessage(slices, TensorTableOf<Message>(), message, cut);
}

// The data of the tensor with this path; empty without.
template <typename Message>
ScatteredBytes DataOf(const CutTensors& cut, absl::string_view path) {
  for (const CutTensor& tensor : cut) {
    if (TensorTableOf<Message>().path(tensor.number) == path) {
      return tensor.data;
    }
  }
  return {};
}

// The tensor at `path` of `message`.
v1::Tensor& TensorAt(google::protobuf::Message& message,
                     absl::string_view path) {
  const size_t dot = path.find('.');
  const auto* const field = message.GetDescriptor()->FindFieldByName(
      std::string(path.substr(0, dot)));
  google::protobuf::Message& below =
      *message.GetReflection()->MutableMessage(&message, field);
  return dot == absl::string_view::npos ? dynamic_cast<v1::Tensor&>(below)
                                        : TensorAt(below, path.substr(dot + 1));
}

// What SplitMessage makes of `slices`, data put back; `ok` tells whether it
// accepted them.
template <typename Message>
Message SplitAndPutBack(absl::Span<const absl::string_view> slices, bool& ok) {
  Message message;
  CutTensors cut;
  ok = Split(slices, message, cut).ok();
  if (!ok) return {};
  for (const CutTensor& tensor : cut) {
    if (tensor.data.size == 0) continue;
    v1::Tensor& to =
        TensorAt(message, TensorTableOf<Message>().path(tensor.number));
    EXPECT_TRUE(to.data().empty());
    to.set_data(Gathered(tensor.data));
  }
  return message;
}

// The same bytes read by both: accepted by both or neither, and the same then.
template <typename Message>
void ExpectLikeProtobuf(const std::string& bytes,
                        const std::vector<size_t>& sizes) {
  Message expected;
  const bool accepted = expected.ParseFromString(bytes);
  bool ok = false;
  const auto found = SplitAndPutBack<Message>(Slices(bytes, sizes), ok);
  ASSERT_EQ(ok, accepted) << testing::PrintToString(bytes);
  if (ok) {
    ASSERT_EQ(found.SerializeAsString(), expected.SerializeAsString());
  }
}

// The same for a StreamAttentionRequest; its id is checked where it is valid.
void ExpectStreamLikeProtobuf(const std::string& bytes,
                              const std::vector<size_t>& sizes) {
  ExpectLikeProtobuf<v1::StreamAttentionRequest>(bytes, sizes);
  v1::StreamAttentionRequest expected;
  const bool accepted = expected.ParseFromString(bytes);
  const uint64_t id = StreamRequestId(Slices(bytes, sizes));
  if (accepted) {
    EXPECT_EQ(id, expected.id());
  }
}

v1::WeightSet FullWeightSet() {
  v1::WeightSet weights;
  weights.set_num_heads(2);
  weights.set_layout(v1::LAYOUT_OUT_IN);
  *weights.mutable_query()->mutable_weight() = WithData("query weight");
  *weights.mutable_query()->mutable_bias() = WithData("qb");
  *weights.mutable_key()->mutable_weight() = WithData(std::string(200, 'w'));
  weights.mutable_value()->mutable_weight()->add_values(0.25);
  *weights.mutable_output()->mutable_bias() = WithData("ob");
  return weights;
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

TEST(SplitMessage, ReadsWhatProtobufReadsWhereverSlicesEnd) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t first = 0; first <= bytes.size(); ++first) {
    for (const size_t second : {0, 1, 2, 50}) {
      ExpectLikeProtobuf<Request>(bytes, {first, second});
    }
  }
  ExpectLikeProtobuf<Request>(bytes, std::vector<size_t>(bytes.size(), 1));
}

TEST(SplitMessage, DataIsLeftWhereItIs) {
  const std::string bytes = FullRequest().SerializeAsString();
  const size_t start = bytes.find("query bytes");
  Request message;
  CutTensors cut;
  ASSERT_TRUE(Split(Slices(bytes, {start + 4}), message, cut).ok());
  const ScatteredBytes query = DataOf<Request>(cut, "query");
  ASSERT_EQ(query.pieces.size(), 2U);
  EXPECT_EQ(query.pieces[0].bytes.data(), bytes.data() + start);
  EXPECT_EQ(query.pieces[1].bytes.data(), bytes.data() + start + 4);
  EXPECT_EQ(query.size, 11);
  EXPECT_TRUE(message.query().data().empty());
  EXPECT_EQ(message.query().shape(0), 11);
}

TEST(SplitMessage, AnyPartCanBeCopied) {
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

TEST(SplitMessage, FieldThatComesTwiceIsMergedAndItsLastDataWins) {
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
  const auto found = SplitAndPutBack<Request>(Slices(bytes, {}), ok);
  ASSERT_TRUE(ok);
  EXPECT_EQ(found.query().data(), "2");
  EXPECT_THAT(found.query().shape(), testing::ElementsAre(5, 7, 9));
  ExpectLikeProtobuf<Request>(bytes, {3});
}

TEST(SplitMessage, DataThatComesAgainEmptyIsEmpty) {
  // Tensor{data: "ab", data: ""}.
  const std::string tensor(
      "\x1A\x02"
      "ab\x1A\x00",
      6);
  const std::string bytes =
      std::string("\x12") + static_cast<char>(tensor.size()) + tensor;
  Request message;
  CutTensors cut;
  ASSERT_TRUE(Split(Slices(bytes, {}), message, cut).ok());
  const ScatteredBytes query = DataOf<Request>(cut, "query");
  EXPECT_EQ(query.size, 0);
  EXPECT_TRUE(query.pieces.empty());
  ExpectLikeProtobuf<Request>(bytes, {});
}

TEST(SplitMessage, UnknownFieldsAreKeptAndNotSearched) {
  // Group 100 {query-like field 2 of 3 bytes}, then field 101.
  std::string bytes;
  wire::AppendVarint(wire::Tag(100, wire::kGroupStart), bytes);
  bytes += std::string("\x12\x03\x1A\x01x", 5);
  wire::AppendVarint(wire::Tag(100, wire::kGroupEnd), bytes);
  wire::AppendVarint(wire::Tag(101, wire::kLengthDelimited), bytes);
  bytes += std::string("\x02hi", 3);
  Request message;
  CutTensors cut;
  ASSERT_TRUE(Split(Slices(bytes, {5}), message, cut).ok());
  EXPECT_FALSE(message.has_query());
  EXPECT_TRUE(cut.empty());
  EXPECT_EQ(message.SerializeAsString(), bytes);
}

TEST(SplitMessage, BrokenBytesAreRefusedByTheNameOfTheMessage) {
  const std::string bytes = FullRequest().SerializeAsString();
  Request message;
  CutTensors cut;
  const absl::Status status =
      Split(Slices(absl::string_view(bytes).substr(0, bytes.size() - 1), {}),
            message, cut);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("attention.v1.ComputeAttentionRequest"));
}

TEST(SplitMessage, EveryPrefixIsReadLikeProtobuf) {
  const std::string bytes = FullRequest().SerializeAsString();
  for (size_t size = 0; size < bytes.size(); ++size) {
    ExpectLikeProtobuf<Request>(bytes.substr(0, size), {size / 2});
  }
}

TEST(SplitMessage, StreamedRequestsAreReadLikeProtobuf) {
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

TEST(SplitMessage, IdInsideAnUnknownGroupIsNotTheId) {
  std::string bytes("\x08\x05", 2);
  wire::AppendVarint(wire::Tag(100, wire::kGroupStart), bytes);
  bytes += std::string("\x08\x06", 2);
  wire::AppendVarint(wire::Tag(100, wire::kGroupEnd), bytes);
  EXPECT_EQ(StreamRequestId(Slices(bytes, {1})), 5U);
  ExpectStreamLikeProtobuf(bytes, {3});
}

TEST(SplitMessage, TensorsAreCutAtAnyDepth) {
  v1::SetWeightsRequest request;
  request.set_name("layer");
  *request.mutable_weights() = FullWeightSet();
  const std::string bytes = request.SerializeAsString();
  v1::SetWeightsRequest message;
  CutTensors cut;
  ASSERT_TRUE(Split(Slices(bytes, {7, 30}), message, cut).ok());
  EXPECT_EQ(cut.size(), 4U);
  for (const auto& [path, data] :
       {std::pair("weights.query.weight", "query weight"),
        std::pair("weights.query.bias", "qb"),
        std::pair("weights.output.bias", "ob")}) {
    EXPECT_EQ(Gathered(DataOf<v1::SetWeightsRequest>(cut, path)), data) << path;
    EXPECT_EQ(TensorAt(message, path).data(), "") << path;
  }
  for (size_t first = 0; first <= bytes.size(); ++first) {
    ExpectLikeProtobuf<v1::SetWeightsRequest>(bytes, {first, 1});
    ExpectLikeProtobuf<v1::SetWeightsRequest>(bytes.substr(0, first), {3});
  }
}

// Of a oneof the last member that came is there, and of the one before nothing
// is, should it come again.
TEST(SplitMessage, DataOfAReplacedMemberOfAOneofIsGone) {
  v1::SetWeightsRequest tensors;
  *tensors.mutable_weights() = FullWeightSet();
  v1::SetWeightsRequest recipe;
  recipe.mutable_initializer()->set_seed(5);
  v1::SetWeightsRequest part;
  part.mutable_weights()->mutable_query()->mutable_weight()->add_shape(3);
  std::string bytes = tensors.SerializeAsString() + recipe.SerializeAsString();
  bool ok = false;
  auto found = SplitAndPutBack<v1::SetWeightsRequest>(Slices(bytes, {5}), ok);
  ASSERT_TRUE(ok);
  EXPECT_FALSE(found.has_weights());
  bytes += part.SerializeAsString();
  found = SplitAndPutBack<v1::SetWeightsRequest>(Slices(bytes, {5}), ok);
  ASSERT_TRUE(ok);
  EXPECT_EQ(found.weights().query().weight().data(), "");
  ExpectLikeProtobuf<v1::SetWeightsRequest>(bytes, {5});
}

// A string takes the place of a message; what has its number and another wire
// type is unknown and takes nobody's.
TEST(SplitMessage, MembersWithoutTensorsReplaceToo) {
  using Upload = v1::UploadWeightsRequest;
  Upload header;
  *header.mutable_header()->mutable_weights() = FullWeightSet();
  Upload part;
  part.mutable_header()->mutable_weights()->mutable_query();
  std::string unknown;
  wire::AppendVarint(wire::Tag(Upload::kSha256FieldNumber, wire::kVarint),
                     unknown);
  wire::AppendVarint(1, unknown);
  Upload sha256;
  sha256.set_sha256("x");
  const std::string first = header.SerializeAsString();
  for (const std::string& between : {unknown, sha256.SerializeAsString()}) {
    const std::string bytes = first + between + part.SerializeAsString();
    ExpectLikeProtobuf<Upload>(bytes, {first.size() / 2});
    bool ok = false;
    const auto found = SplitAndPutBack<Upload>(Slices(bytes, {}), ok);
    ASSERT_TRUE(ok);
    EXPECT_EQ(found.header().weights().query().weight().data(),
              between == unknown ? "query weight" : "");
  }
}

// Random damage to valid bytes: what protobuf still accepts, and only that, is
// accepted, with the same result. Damage prefers the bytes of `tags`.
template <typename Message>
void ExpectDamageReadLikeProtobuf(const std::string& whole,
                                  const std::string& tags, int rounds) {
  const google::protobuf::LogSilencer silence;
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return random() % bound; };
  for (int i = 0; i < rounds; ++i) {
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
    ExpectLikeProtobuf<Message>(bytes, {below(bytes.size() + 1), below(9)});
    if (testing::Test::HasFatalFailure()) return;
  }
}

TEST(SplitMessage, DamagedBytesAreReadLikeProtobuf) {
  ExpectDamageReadLikeProtobuf<Request>(
      FullRequest().SerializeAsString(),
      std::string("\x12\x1A\x22\x62\x6A\x13\x14\x0B\x80\x00\xFF\x10\x15", 13),
      100'000);
}

TEST(SplitMessage, DamagedOneofsAreReadLikeProtobuf) {
  v1::SetWeightsRequest request;
  request.set_name("layer");
  *request.mutable_weights() = FullWeightSet();
  std::string bytes = request.SerializeAsString();
  request.mutable_initializer()->set_seed(3);
  bytes += request.SerializeAsString();
  *request.mutable_weights() = FullWeightSet();
  bytes += request.SerializeAsString();
  ExpectDamageReadLikeProtobuf<v1::SetWeightsRequest>(
      bytes,
      std::string("\x12\x1A\x22\x2A\x32\x3A\x0A\x13\x14\x80\x00\xFF", 12),
      100'000);
}

TEST(TensorTable, NamesEveryTensorOnce) {
  const auto& table = TensorTableOf<v1::StreamAttentionRequest>();
  const std::vector<std::string> names = {
      "request.query", "request.key", "request.value", "request.attend_mask",
      "request.bias"};
  ASSERT_GE(table.size(), static_cast<int>(names.size()));
  for (size_t i = 0; i < names.size(); ++i) {
    EXPECT_EQ(table.path(static_cast<int>(i)), names[i]);
  }
  EXPECT_EQ(TensorTableOf<v1::WeightSet>().size(), 8);
  EXPECT_EQ(TensorTableOf<v1::GetServerInfoRequest>().size(), 0);
  EXPECT_TRUE(TensorTableOf<v1::GetServerInfoRequest>().root().empty());
}

}  // namespace
}  // namespace attention
