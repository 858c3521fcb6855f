#include "client/cpp/weight_set_assembler.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "attention/tensor.h"
#include "client/cpp/canonical_form.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::HasSubstr;

void SetWeight(v1::Projection& projection, int64_t in, int64_t out) {
  std::vector<float> elements(static_cast<size_t>(in * out));
  for (size_t i = 0; i < elements.size(); ++i) {
    elements[i] = 0.25f * static_cast<float>(i);
  }
  *projection.mutable_weight() = MakeTensor(elements, {in, out});
}

// A weight set with every tensor there can be.
v1::WeightSet FullWeightSet() {
  v1::WeightSet weights;
  weights.set_num_heads(1);
  weights.set_layout(v1::LAYOUT_IN_OUT);
  SetWeight(*weights.mutable_query(), 3, 2);
  SetWeight(*weights.mutable_key(), 3, 2);
  SetWeight(*weights.mutable_value(), 3, 4);
  SetWeight(*weights.mutable_output(), 4, 5);
  *weights.mutable_key()->mutable_bias() =
      MakeTensor(std::vector<float>{1, 2}, {2});
  *weights.mutable_output()->mutable_bias() =
      MakeTensor(std::vector<float>{1, 2, 3, 4, 5}, {5});
  return weights;
}

void AddChunks(const std::string& path, v1::Tensor& tensor, size_t chunk_bytes,
               std::vector<v1::GetWeightsResponse>& stream) {
  for (size_t offset = 0; offset < tensor.data().size();
       offset += chunk_bytes) {
    auto& chunk = *stream.emplace_back().mutable_chunk();
    chunk.set_tensor(path);
    chunk.set_offset(static_cast<int64_t>(offset));
    chunk.set_data(tensor.data().substr(offset, chunk_bytes));
  }
  tensor.clear_data();
}

// `weights` as a server sends it.
std::vector<v1::GetWeightsResponse> StreamOf(v1::WeightSet weights,
                                             size_t chunk_bytes) {
  const std::string sha256 = CanonicalSha256(weights);
  std::vector<v1::GetWeightsResponse> stream(1);
  const auto add = [&](const std::string& name, v1::Projection& projection) {
    AddChunks(name + ".weight", *projection.mutable_weight(), chunk_bytes,
              stream);
    if (projection.has_bias()) {
      AddChunks(name + ".bias", *projection.mutable_bias(), chunk_bytes,
                stream);
    }
  };
  add("query", *weights.mutable_query());
  add("key", *weights.mutable_key());
  add("value", *weights.mutable_value());
  add("output", *weights.mutable_output());
  auto& header = *stream[0].mutable_header();
  header.mutable_summary()->mutable_version()->set_sha256(sha256);
  *header.mutable_weights() = std::move(weights);
  stream.emplace_back().set_sha256(sha256);
  return stream;
}

absl::StatusOr<StoredWeightSet> Assemble(
    const std::vector<v1::GetWeightsResponse>& stream) {
  WeightSetAssembler assembler;
  for (const auto& message : stream) {
    absl::Status status = assembler.Take(message);
    if (!status.ok()) return status;
  }
  return assembler.Finish();
}

void ExpectDataLoss(const std::vector<v1::GetWeightsResponse>& stream,
                    const std::string& reason) {
  const absl::Status status = Assemble(stream).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
}

TEST(WeightSetAssemblerTest, WhatWasSentIsPutTogether) {
  for (const size_t chunk_bytes : {1, 7, 1 << 20}) {
    const auto result = Assemble(StreamOf(FullWeightSet(), chunk_bytes));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->weights.SerializeAsString(),
              FullWeightSet().SerializeAsString());
    EXPECT_EQ(result->summary.version().sha256(),
              CanonicalSha256(FullWeightSet()));
  }
}

TEST(WeightSetAssemblerTest, LostChunkIsDataLoss) {
  const auto stream = StreamOf(FullWeightSet(), 8);
  for (size_t lost = 1; lost + 1 < stream.size(); ++lost) {
    auto damaged = stream;
    damaged.erase(damaged.begin() + static_cast<std::ptrdiff_t>(lost));
    EXPECT_EQ(Assemble(damaged).status().code(), absl::StatusCode::kDataLoss)
        << "chunk " << lost;
  }
}

TEST(WeightSetAssemblerTest, ChunkTwiceIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 8);
  stream.insert(stream.begin() + 1, stream[1]);
  ExpectDataLoss(stream, "query.weight: a chunk starts at byte 0 but 8 bytes");
}

TEST(WeightSetAssemblerTest, TensorBeyondItsShapeIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream[1].mutable_chunk()->mutable_data()->append("four");
  ExpectDataLoss(stream, "query.weight");
}

TEST(WeightSetAssemblerTest, UnknownTensorIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream[1].mutable_chunk()->set_tensor("query.bias");
  ExpectDataLoss(stream, "query.bias");
}

TEST(WeightSetAssemblerTest, ChunkBeforeTheHeaderIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  std::swap(stream[0], stream[1]);
  ExpectDataLoss(stream, "query.weight");
}

TEST(WeightSetAssemblerTest, SecondHeaderIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream.insert(stream.begin(), stream[0]);
  ExpectDataLoss(stream, "second header");
}

TEST(WeightSetAssemblerTest, MissingChecksumIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream.pop_back();
  ExpectDataLoss(stream, "ended before its checksum");
}

TEST(WeightSetAssemblerTest, MessageAfterTheChecksumIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream.push_back(stream[1]);
  ExpectDataLoss(stream, "after the checksum");
}

TEST(WeightSetAssemblerTest, OtherChecksumIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream.back().set_sha256("4567");
  ExpectDataLoss(stream, "4567");
}

TEST(WeightSetAssemblerTest, FlippedBitIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream[3].mutable_chunk()->mutable_data()->front() ^= 1;
  ExpectDataLoss(stream, "of the tensors that came");
}

TEST(WeightSetAssemblerTest, OtherHeadsAreDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream[0].mutable_header()->mutable_weights()->set_num_heads(2);
  ExpectDataLoss(stream, "of the tensors that came");
}

TEST(WeightSetAssemblerTest, SecondDtypeIsDataLoss) {
  v1::WeightSet weights = FullWeightSet();
  *weights.mutable_value()->mutable_weight() =
      MakeTensor(std::vector<double>(12), {3, 4});
  ExpectDataLoss(StreamOf(weights, 1 << 20), "value.weight is FLOAT64");
}

// The worked example of docs/canonical-form.md.
TEST(ClientCanonicalFormTest, WorkedExampleHasItsSha256) {
  v1::WeightSet weights;
  weights.set_num_heads(2);
  weights.set_num_kv_heads(1);
  weights.set_layout(v1::LAYOUT_OUT_IN);
  *weights.mutable_query()->mutable_weight() =
      MakeTensor(std::vector<float>{1, -2}, {2, 1});
  *weights.mutable_key()->mutable_weight() =
      MakeTensor(std::vector<float>{0.5}, {1, 1});
  *weights.mutable_key()->mutable_bias() =
      MakeTensor(std::vector<float>{0.25}, {1});
  *weights.mutable_value()->mutable_weight() =
      MakeTensor(std::vector<float>{3}, {1, 1});
  EXPECT_EQ(CanonicalSha256(weights),
            "b5d25f6977fbb56435ab36cd72e8db769d8e47223a4a133d20e932d992500321");
}

TEST(ClientCanonicalFormTest, UnsetKvHeadsAreHeads) {
  v1::WeightSet weights = FullWeightSet();
  const std::string unset = CanonicalSha256(weights);
  weights.set_num_kv_heads(weights.num_heads());
  EXPECT_EQ(CanonicalSha256(weights), unset);
}

TEST(WeightSetAssemblerTest, MessageWithoutPartIsDataLoss) {
  auto stream = StreamOf(FullWeightSet(), 1 << 20);
  stream.insert(stream.begin() + 1, v1::GetWeightsResponse());
  ExpectDataLoss(stream, "no part");
}

}  // namespace
}  // namespace attention::client
