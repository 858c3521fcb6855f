#include "proto/wire_contract.h"

#include <gmock/gmock.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "attention/v1/attention.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "proto/field_error.h"
#include "proto/wire.h"

namespace {

std::atomic<int64_t> allocations{0};

}  // namespace

// NOLINTNEXTLINE(misc-new-delete-overloads): all of them end here.
void* operator new(size_t size) {
  ++allocations;
  void* const memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace attention {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kMaxAxis = int64_t{1} << 24;

template <typename Message>
const WireContract& ContractOf() {
  static const WireContract contract(*Message::descriptor());
  return contract;
}

// Slices of these sizes and a last one with the rest.
std::vector<absl::string_view> Slices(absl::string_view bytes,
                                      const std::vector<size_t>& sizes = {}) {
  std::vector<absl::string_view> slices;
  for (const size_t size : sizes) {
    slices.push_back(bytes.substr(0, size));
    bytes.remove_prefix(slices.back().size());
  }
  slices.push_back(bytes);
  return slices;
}

template <typename Message>
WireWalk Walk(const std::string& bytes, const std::vector<size_t>& sizes = {},
              int64_t max_axis = kMaxAxis) {
  return ContractOf<Message>().Walk(Slices(bytes, sizes), max_axis);
}

std::string TagOf(int field, wire::Type type) {
  std::string bytes;
  wire::AppendVarint(wire::Tag(field, type), bytes);
  return bytes;
}

std::string Sized(int field, const std::string& body) {
  std::string bytes;
  wire::AppendVarint(wire::Tag(field, wire::kLengthDelimited), bytes);
  wire::AppendVarint(body.size(), bytes);
  return bytes + body;
}

std::string Number(int field, uint64_t value) {
  std::string bytes;
  wire::AppendVarint(wire::Tag(field, wire::kVarint), bytes);
  wire::AppendVarint(value, bytes);
  return bytes;
}

std::string Times(int64_t count, const std::string& part) {
  std::string bytes;
  bytes.reserve(static_cast<size_t>(count) * part.size());
  for (int64_t i = 0; i < count; ++i) bytes += part;
  return bytes;
}

template <typename Message>
void ExpectRefused(const std::string& bytes, const std::string& field,
                   const std::string& words) {
  // Wherever the slices end.
  for (const size_t first : {size_t{0}, bytes.size() / 3, bytes.size() - 1}) {
    const WireWalk walk = Walk<Message>(bytes, {first, 1});
    EXPECT_EQ(walk.status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_FALSE(walk.malformed) << walk.status;
    EXPECT_EQ(ErrorField(walk.status), field);
    EXPECT_THAT(std::string(walk.status.message()), HasSubstr(words));
  }
}

template <typename Message>
void ExpectMalformed(const std::string& bytes, const std::string& field,
                     const std::string& words) {
  for (const size_t first : {size_t{0}, bytes.size() / 2}) {
    const WireWalk walk = Walk<Message>(bytes, {first, 1});
    EXPECT_EQ(walk.status.code(), absl::StatusCode::kInvalidArgument) << words;
    EXPECT_TRUE(walk.malformed) << walk.status;
    EXPECT_EQ(ErrorField(walk.status), field);
    EXPECT_THAT(std::string(walk.status.message()), HasSubstr(words));
    EXPECT_THAT(std::string(walk.status.message()),
                HasSubstr("expected a serialized " +
                          std::string(Message::descriptor()->full_name())));
  }
}

template <typename Message>
void ExpectAccepted(const std::string& bytes) {
  const WireWalk walk = Walk<Message>(bytes);
  EXPECT_TRUE(walk.status.ok()) << walk.status;
}

v1::Tensor SmallTensor() {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor.add_shape(2);
  tensor.add_shape(3);
  tensor.set_data(std::string(24, '\x01'));
  return tensor;
}

v1::SetWeightsRequest FullSet() {
  v1::SetWeightsRequest request;
  request.set_name("layer");
  request.mutable_weights()->set_num_heads(2);
  *request.mutable_weights()->mutable_query()->mutable_weight() = SmallTensor();
  request.mutable_weights()->mutable_key()->mutable_bias()->add_values(0.5);
  request.set_expected_version(-1);
  request.add_labels("best");
  request.add_labels("last");
  (*request.mutable_annotations())["from"] = "a test \xC3\xA9";
  return request;
}

v1::ComputeAttentionRequest FullCompute() {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = SmallTensor();
  request.mutable_bias()->add_values(1);
  request.mutable_dropout()->set_seed(UINT64_MAX);
  request.set_softcap(2);
  request.set_num_heads(-1);
  request.add_query_offsets(-3);
  request.add_key_lengths(300);
  return request;
}

TEST(WireWalk, EveryStringAndRepeatedFieldOfARequestHasABound) {
  const auto* const service =
      v1::SetWeightsRequest::descriptor()->file()->service(0);
  for (int i = 0; i < service->method_count(); ++i) {
    const WireContract contract(*service->method(i)->input_type());
    EXPECT_THAT(contract.unbounded(), IsEmpty()) << service->method(i)->name();
  }
  EXPECT_THAT(ContractOf<grpc::health::v1::HealthCheckRequest>().unbounded(),
              IsEmpty());
  // A reply is no request.
  EXPECT_THAT(ContractOf<v1::Blas>().unbounded(), testing::Not(IsEmpty()));
}

TEST(WireWalk, AcceptsWhatProtobufWritesWhereverSlicesEnd) {
  const std::string set = FullSet().SerializeAsString();
  const std::string compute = FullCompute().SerializeAsString();
  for (size_t first = 0; first <= set.size(); ++first) {
    const WireWalk walk = Walk<v1::SetWeightsRequest>(set, {first, 1});
    EXPECT_TRUE(walk.status.ok()) << walk.status;
    EXPECT_EQ(walk.unknown_bytes, 0);
  }
  for (size_t first = 0; first <= compute.size(); ++first) {
    const WireWalk walk = Walk<v1::ComputeAttentionRequest>(compute, {first});
    EXPECT_TRUE(walk.status.ok()) << walk.status;
    EXPECT_EQ(walk.unknown_bytes, 0);
  }
}

TEST(WireWalk, NamesHaveTheBoundsOfTheContract) {
  using Set = v1::SetWeightsRequest;
  ExpectAccepted<Set>(Sized(1, std::string(1024, 'n')));
  ExpectRefused<Set>(Sized(1, std::string(1025, 'n')), "name",
                     "name has 1025 bytes; expected at most 128");
  ExpectRefused<Set>(Sized(5, std::string(5000, 'k')), "idempotency_key",
                     "expected at most 128");
  ExpectRefused<Set>(Sized(6, "a") + Sized(6, std::string(1025, 'l')),
                     "labels[1]", "expected at most 64");
  ExpectAccepted<Set>(Sized(7, Sized(2, std::string(1024, 'v'))));
  ExpectRefused<Set>(Sized(7, Sized(2, std::string(1025, 'v'))),
                     "annotations[0].value", "expected at most 1024");
  ExpectRefused<v1::GetWeightsRequest>(
      Sized(1, Sized(3, std::string(1025, 'l'))), "weight_set.label",
      "expected at most 64");
  ExpectRefused<v1::ListWeightsRequest>(Sized(4, std::string(1025, 't')),
                                        "page_token", "expected at most 512");
}

TEST(WireWalk, RepeatedFieldsHaveTheBoundsOfTheContract) {
  using Set = v1::SetWeightsRequest;
  ExpectAccepted<Set>(Times(64, Sized(6, "")));
  ExpectRefused<Set>(Times(65, Sized(6, "")), "labels",
                     "labels has 65 entries; expected at most 64");
  ExpectAccepted<Set>(Times(64, Sized(7, "")));
  ExpectRefused<Set>(Times(65, Sized(7, "")), "annotations",
                     "annotations has 65 entries; expected at most 64");
  using Upload = v1::UploadWeightsRequest;
  ExpectRefused<Upload>(Sized(1, Times(65, Sized(5, "l"))), "labels",
                        "at most 64");
  ExpectRefused<Upload>(Sized(1, Times(65, Sized(6, ""))), "annotations",
                        "at most 64");
}

TEST(WireWalk, AShapeHasAtMostEightAxesPackedOrNot) {
  using Compute = v1::ComputeAttentionRequest;
  const auto query = [](const std::string& tensor) { return Sized(2, tensor); };
  ExpectAccepted<Compute>(query(Times(8, Number(2, 1))));
  ExpectAccepted<Compute>(query(Sized(2, std::string(8, '\1'))));
  ExpectRefused<Compute>(query(Times(9, Number(2, 1))), "query.shape",
                         "has 9 entries; expected at most 8");
  ExpectRefused<Compute>(query(Sized(2, std::string(9, '\1'))), "query.shape",
                         "has 9 entries; expected at most 8");
  ExpectRefused<Compute>(
      query(Sized(2, std::string(5, '\1')) + Times(4, Number(2, 1))),
      "query.shape", "has 9 entries");
  // Inside others, by its path.
  ExpectRefused<v1::SetWeightsRequest>(
      Sized(2, Sized(5, Sized(2, Sized(2, std::string(9, '\1'))))),
      "weights.key.bias.shape", "has 9 entries");
}

TEST(WireWalk, AMessageThatComesInPartsCountsAsAWhole) {
  using Compute = v1::ComputeAttentionRequest;
  const std::string five = Sized(2, Sized(2, std::string(5, '\1')));
  ExpectAccepted<Compute>(five);
  ExpectRefused<Compute>(five + five, "query.shape", "has 10 entries");
  // The key's is another shape.
  ExpectAccepted<Compute>(five + Sized(3, Sized(2, std::string(5, '\1'))));
  using Set = v1::SetWeightsRequest;
  const std::string part = Sized(2, Sized(4, Sized(1, Times(5, Number(2, 1)))));
  ExpectRefused<Set>(part + part, "weights.query.weight.shape",
                     "has 10 entries");
}

TEST(WireWalk, PartsAreAtMostAThousand) {
  using Compute = v1::ComputeAttentionRequest;
  ExpectAccepted<Compute>(Times(512, Sized(2, "")) + Times(512, Sized(3, "")));
  ExpectRefused<Compute>(Times(512, Sized(2, "")) + Times(513, Sized(3, "")),
                         "key", "comes in parts, and makes more than 1024");
  // Entries of a map are counted for themselves.
  ExpectRefused<v1::SetWeightsRequest>(Times(2000, Sized(7, "")), "annotations",
                                       "has 2000 entries");
}

TEST(WireWalk, ValuesAreAtMostTheProductOfTheShape) {
  using Compute = v1::ComputeAttentionRequest;
  const auto query = [](int64_t axis, int64_t values, bool shape_first) {
    const std::string shape = Number(2, 2) + Number(2, axis);
    const std::string packed =
        Sized(4, std::string(static_cast<size_t>(8 * values), '\0'));
    return Sized(2, shape_first ? shape + packed : packed + shape);
  };
  for (const bool shape_first : {true, false}) {
    ExpectAccepted<Compute>(query(1000, 2000, shape_first));
    ExpectRefused<Compute>(query(1000, 2001, shape_first), "query.values",
                           "has 2001 entries; expected at most 2000, the "
                           "product of its shape");
    // Small ones are for the codec to name.
    ExpectAccepted<Compute>(query(1, 1024, shape_first));
    ExpectRefused<Compute>(query(1, 1025, shape_first), "query.values",
                           "expected at most 2,");
    ExpectRefused<Compute>(query(-5, 1025, shape_first), "query.values",
                           "expected at most 0");
  }
  ExpectRefused<Compute>(
      Sized(2, Sized(4, std::string(size_t{8} * 1025, '\0'))), "query.values",
      "expected at most 0");
  // A product beyond all numbers bounds nothing, and does not wrap around.
  ExpectAccepted<Compute>(query(INT64_MAX, 1025, true));
}

TEST(WireWalk, KeyLengthsAndOffsetsAreAtMostTheBatch) {
  using Compute = v1::ComputeAttentionRequest;
  const auto request = [](int field, int64_t count, int64_t batch,
                          int64_t rank) {
    std::string shape = Number(2, static_cast<uint64_t>(batch));
    for (int64_t i = 1; i < rank; ++i) shape += Number(2, 0);
    return Sized(field, std::string(static_cast<size_t>(count), '\0')) +
           Sized(2, shape);
  };
  const auto expect_refused = [&](int field, const std::string& name) {
    ExpectAccepted<Compute>(request(field, 2000, 2000, 3));
    ExpectRefused<Compute>(
        request(field, 2001, 2000, 3), name,
        "has 2001 entries; expected at most 2000, the batch");
    // Without a batch axis there is one item.
    ExpectRefused<Compute>(request(field, 1025, 2000, 2), name,
                           "expected at most 1, the batch");
    ExpectAccepted<Compute>(request(field, 1024, 1, 2));
    const WireWalk walk =
        Walk<Compute>(request(field, 2000, 2000, 4), {}, /*max_axis=*/1999);
    EXPECT_THAT(std::string(walk.status.message()),
                HasSubstr("expected at most 1999, the batch"));
  };
  expect_refused(11, "query_offsets");
  expect_refused(14, "key_lengths");
  // In a stream the request itself is not named.
  ExpectRefused<v1::StreamAttentionRequest>(
      Sized(2, request(11, 1025, 1, 3)), "query_offsets", "has 1025 entries");
}

TEST(WireWalk, ChunksAreAtMostAMebibyte) {
  using Upload = v1::UploadWeightsRequest;
  ExpectAccepted<Upload>(Sized(2, Sized(3, std::string(1 << 20, 'd'))));
  ExpectRefused<Upload>(Sized(2, Sized(3, std::string((1 << 20) + 1, 'd'))),
                        "chunk.data",
                        "has 1048577 bytes; expected at most 1048576");
}

TEST(WireWalk, AnotherWireTypeIsMalformedAndNamed) {
  using Compute = v1::ComputeAttentionRequest;
  ExpectMalformed<Compute>(Number(2, 1), "query",
                           "has wire type 0; expected 2");
  ExpectMalformed<Compute>(Sized(2, Sized(1, "x")), "query.dtype",
                           "has wire type 2; expected 0");
  ExpectMalformed<Compute>(Sized(16, "12345678"), "softcap",
                           "has wire type 2; expected 1");
  ExpectMalformed<v1::SetWeightsRequest>(Number(1, 1), "name",
                                         "has wire type 0; expected 2");
}

TEST(WireWalk, BrokenBytesAreMalformed) {
  using Compute = v1::ComputeAttentionRequest;
  const auto bytes = [](const char* text, size_t size) {
    return std::string(text, size);
  };
  ExpectMalformed<Compute>("\xFF", "", "is cut inside a field's tag");
  ExpectMalformed<Compute>(bytes("\x12\x05\x1A\x09x", 5), "query",
                           "is longer than what it is in");
  ExpectMalformed<Compute>(bytes("\x12\x03\x1A\x09x", 5), "query.data",
                           "is longer than what it is in");
  // Beyond the message it is in, and within the whole.
  ExpectMalformed<Compute>("\x12\x02\x1A\x03\x28\x01\x28\x01", "query.data",
                           "is longer than what it is in");
  ExpectMalformed<Compute>(std::string(2, '\0'), "", "impossible tag 0");
  ExpectMalformed<Compute>("\x0C", "", "impossible tag 12");
  ExpectMalformed<Compute>("\x0E", "", "impossible tag 14");
  ExpectMalformed<Compute>("\x0F", "", "impossible tag 15");
  // Eleven bytes of a varint, in a field and in an unknown one.
  const std::string eleven = std::string(10, '\x80') + bytes("\x01", 1);
  ExpectMalformed<Compute>(TagOf(5, wire::kVarint) + eleven, "num_heads",
                           "is cut");
  ExpectMalformed<Compute>(TagOf(1023, wire::kVarint) + eleven, "",
                           "broken inside field 1023");
  ExpectMalformed<Compute>(TagOf(16, wire::kFixed64) + "1234567", "softcap",
                           "is cut");
  ExpectMalformed<Compute>(bytes("\x5A\x01\x80", 3), "query_offsets", "is cut");
  ExpectMalformed<Compute>(bytes("\x12\x03\x22\x01x", 5), "query.values",
                           "is cut");
  ExpectMalformed<v1::SetWeightsRequest>(bytes("\x0A\x02\xC3\x28", 4), "name",
                                         "is not UTF-8");
}

TEST(WireWalk, UnknownFieldsAreCountedAndGroupsMatched) {
  using Compute = v1::ComputeAttentionRequest;
  std::string start;
  wire::AppendVarint(wire::Tag(900, wire::kGroupStart), start);
  std::string end;
  wire::AppendVarint(wire::Tag(900, wire::kGroupEnd), end);
  std::string other_end;
  wire::AppendVarint(wire::Tag(901, wire::kGroupEnd), other_end);
  const std::string inside = Number(2, 7) + Sized(5, "xyz") + start + end;
  const std::string unknown = Number(1000, 5) + start + inside + end;
  const std::string known = FullCompute().SerializeAsString();
  const WireWalk walk =
      Walk<Compute>(unknown + known + Sized(2, unknown), {3, 1, 8});
  EXPECT_TRUE(walk.status.ok()) << walk.status;
  EXPECT_EQ(walk.unknown_bytes, static_cast<int64_t>(2 * unknown.size()));
  EXPECT_EQ(walk.data_bytes, 24);
  ExpectMalformed<Compute>(start, "", "broken inside field 900");
  ExpectMalformed<Compute>(start + other_end, "", "broken inside field 900");
  ExpectMalformed<Compute>(end, "", "impossible tag");
  ExpectAccepted<Compute>(Times(64, start) + Times(64, end));
  ExpectMalformed<Compute>(Times(65, start) + Times(65, end), "",
                           "broken inside field 900");
}

TEST(WireWalk, AllocatesNothing) {
  using Compute = v1::ComputeAttentionRequest;
  constexpr int64_t kMany = int64_t{1} << 20;
  const std::string unknown = Times(kMany, Number(31, 1));
  const std::string values = Sized(
      2, Number(2, kMany) + Sized(4, std::string(size_t{8} << 20U, '\0')));
  const std::string batch =
      Sized(2, Number(2, kMany) + Number(2, 0) + Number(2, 1)) +
      Sized(11, std::string(kMany, '\1')) + Sized(14, std::string(kMany, '\1'));
  for (const std::string& bytes :
       {unknown, values, batch, FullCompute().SerializeAsString()}) {
    const auto slices = Slices(bytes, {1, 5, bytes.size() / 2});
    const WireContract& contract = ContractOf<Compute>();
    const int64_t before = allocations;
    const WireWalk walk = contract.Walk(slices, kMaxAxis);
    EXPECT_EQ(allocations - before, 0);
    EXPECT_TRUE(walk.status.ok()) << walk.status;
  }
}

TEST(WireWalk, ARefusalAllocatesItsWordsOnly) {
  using Set = v1::SetWeightsRequest;
  for (const std::string& bytes :
       {Times(int64_t{1} << 20, Sized(6, "")),
        Times(int64_t{1} << 19, Sized(7, Sized(1, "k")))}) {
    const auto slices = Slices(bytes);
    const WireContract& contract = ContractOf<Set>();
    const int64_t before = allocations;
    const WireWalk walk = contract.Walk(slices, kMaxAxis);
    EXPECT_LT(allocations - before, 50);
    EXPECT_THAT(std::string(walk.status.message()),
                HasSubstr(bytes.size() == size_t{2} << 20U
                              ? "labels has 1048576 entries"
                              : "annotations has 524288 entries"));
  }
}

// Maps in one order.
std::string Serialized(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

// Parsed, and again without what is unknown.
template <typename Message>
std::string Known(const std::string& bytes) {
  Message message;
  EXPECT_TRUE(message.ParseFromString(bytes));
  message.DiscardUnknownFields();
  return Serialized(message);
}

template <typename Message>
std::string CopyOf(const std::string& bytes, const std::vector<size_t>& sizes) {
  std::string copy;
  ContractOf<Message>().CopyKnown(Slices(bytes, sizes), copy);
  Message message;
  EXPECT_TRUE(message.ParseFromString(copy));
  EXPECT_TRUE(message.GetReflection()->GetUnknownFields(message).empty());
  EXPECT_LE(copy.size(), bytes.size());
  return Serialized(message);
}

TEST(WireWalk, CopyHasAllThatIsKnownAndNothingElse) {
  std::string group;
  wire::AppendVarint(wire::Tag(900, wire::kGroupStart), group);
  group += Number(1, 3);
  wire::AppendVarint(wire::Tag(900, wire::kGroupEnd), group);
  const std::string unknown = Number(99, 300) + group + Sized(98, "text");
  const std::string set = FullSet().SerializeAsString() + unknown +
                          Sized(2, unknown + Sized(4, Sized(1, unknown))) +
                          Sized(7, Sized(1, "key") + unknown);
  const std::string compute =
      unknown + FullCompute().SerializeAsString() + Sized(2, unknown);
  for (const size_t first : {size_t{0}, size_t{7}, set.size() / 2}) {
    EXPECT_EQ(CopyOf<v1::SetWeightsRequest>(set, {first, 1}),
              Known<v1::SetWeightsRequest>(set));
    EXPECT_EQ(CopyOf<v1::ComputeAttentionRequest>(compute, {first, 1}),
              Known<v1::ComputeAttentionRequest>(compute));
  }
  EXPECT_EQ(CopyOf<v1::GetServerInfoRequest>(unknown, {}), "");
}

// Whatever protobuf would make of the bytes: what it refuses is malformed, and
// what the walk lets through is copied as protobuf reads it.
TEST(WireWalk, DamagedBytesNeverGetPastTheWalkToFailInProtobuf) {
  const google::protobuf::LogSilencer silence;
  std::mt19937 random(1);
  const auto below = [&](size_t bound) { return random() % bound; };
  const std::string whole = FullSet().SerializeAsString();
  const std::string tags("\x12\x1A\x22\x62\x3A\x13\x14\x0B\x80\x00\xFF\x10\x15",
                         13);
  int accepted = 0;
  int malformed = 0;
  for (int i = 0; i < 50'000; ++i) {
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
    const std::vector<size_t> sizes = {below(bytes.size() + 1), below(9)};
    v1::SetWeightsRequest parsed;
    const bool readable = parsed.ParseFromString(bytes);
    const WireWalk walk = Walk<v1::SetWeightsRequest>(bytes, sizes);
    if (walk.status.ok()) {
      ++accepted;
      ASSERT_TRUE(readable) << testing::PrintToString(bytes);
      ASSERT_EQ(CopyOf<v1::SetWeightsRequest>(bytes, sizes),
                Known<v1::SetWeightsRequest>(bytes));
      // Of those inside a map's entries protobuf keeps none.
      if (Serialized(parsed) != Known<v1::SetWeightsRequest>(bytes)) {
        ASSERT_GT(walk.unknown_bytes, 0) << testing::PrintToString(bytes);
      }
    } else if (walk.malformed) {
      ++malformed;
    } else {
      ASSERT_TRUE(readable) << walk.status;
    }
  }
  EXPECT_GT(accepted, 500);
  EXPECT_GT(malformed, 1000);
}

}  // namespace
}  // namespace attention
