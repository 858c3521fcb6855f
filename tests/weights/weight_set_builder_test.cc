#include "server/weights/weight_set_builder.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "server/weights/named_tensor.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {
namespace {

using ::testing::HasSubstr;
using Code = absl::StatusCode;

memory::Ledger ledger(int64_t{1} << 40);

constexpr WeightSetDims kDims = {2, 1, 5, 6, 7, 3, 4, 9};

WeightSetContents Contents(DType dtype, bool biases = true,
                           int64_t output_width = 9) {
  WeightSetDims dims = kDims;
  dims.output_width = output_width;
  return NumberedContents(dims, core::Layout::kOutIn, dtype, biases);
}

// `contents` without data.
WeightSetContents Shapes(WeightSetContents contents) {
  for (const NamedTensor& named : NamedTensors(contents)) {
    // With none of its room left either, as where none has come.
    std::string().swap(const_cast<StoredTensor*>(named.tensor)->data);
  }
  return contents;
}

std::unique_ptr<WeightSetBuilder> Start(WeightSetContents shapes) {
  WeightSetVersion::Record record;
  record.name = "layer";
  record.annotations = {{"epoch", "1"}};
  record.contents = std::move(shapes);
  auto builder = WeightSetBuilder::Start(std::move(record), ledger);
  EXPECT_TRUE(builder.ok()) << builder.status();
  return *std::move(builder);
}

// Gives all of `contents` in pieces of `bytes`.
absl::Status Give(const WeightSetContents& contents, size_t bytes,
                  WeightSetBuilder& builder) {
  for (const NamedTensor& named : NamedTensors(contents)) {
    const std::string& data = named.tensor->data;
    for (size_t offset = 0; offset < data.size(); offset += bytes) {
      absl::Status status =
          builder.Take(named.path, static_cast<int64_t>(offset),
                       absl::string_view(data).substr(offset, bytes));
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

TEST(WeightSetBuilder, PiecesOfAnySizeMakeTheVersionThatMakeMakes) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16}) {
    for (const bool biases : {false, true}) {
      for (const int64_t output_width : {0, 9}) {
        const WeightSetContents contents =
            Contents(dtype, biases, output_width);
        for (const size_t bytes : {8, 24, 1 << 20}) {
          const auto builder = Start(Shapes(contents));
          ASSERT_TRUE(Give(contents, bytes, *builder).ok());
          ASSERT_TRUE(builder->CheckComplete().ok());
          const std::string sha256 = CanonicalSha256(contents);
          const auto version = builder->Finish(sha256);
          ASSERT_TRUE(version.ok()) << version.status();
          const WeightSetVersion::Record& record = (*version)->record();
          EXPECT_EQ(record.name, "layer");
          EXPECT_EQ(record.sha256, sha256);
          EXPECT_EQ(record.annotations.at("epoch"), "1");
          EXPECT_EQ((*version)->tensor_bytes(), builder->tensor_bytes());
          EXPECT_EQ((*version)->dims().value_dim, 4);
          const auto taken = NamedTensors(record.contents);
          const auto given = NamedTensors(contents);
          ASSERT_EQ(taken.size(), given.size());
          for (size_t i = 0; i < taken.size(); ++i) {
            EXPECT_EQ(taken[i].tensor->data, given[i].tensor->data);
          }
        }
      }
    }
  }
}

TEST(WeightSetBuilder, WhatIsTakenStaysWhereItIs) {
  const WeightSetContents contents = Contents(DType::kFloat32);
  const auto builder = Start(Shapes(contents));
  ASSERT_TRUE(Give(contents, 8, *builder).ok());
  const auto version = builder->Finish(CanonicalSha256(contents));
  ASSERT_TRUE(version.ok());
  for (const NamedTensor& named : NamedTensors((*version)->record().contents)) {
    // A string that grew by itself would have room left.
    EXPECT_LE(named.tensor->data.capacity(),
              std::max<size_t>(named.tensor->data.size(), 30));
  }
  // What is computed with are these bytes, not a copy.
  const auto layer = (*version)->As<float>();
  ASSERT_TRUE(layer.ok());
  EXPECT_EQ(reinterpret_cast<const char*>(layer->query.weight),
            (*version)->record().contents.query.weight.data.data());
}

TEST(WeightSetBuilder, MemoryIsTakenAsDataComesAndKeptForTheVersion) {
  for (const auto& [dtype, times] :
       {std::pair(DType::kFloat32, 1), std::pair(DType::kFloat64, 1),
        std::pair(DType::kFloat16, 3), std::pair(DType::kBfloat16, 3)}) {
    memory::Ledger own(int64_t{1} << 30);
    const WeightSetContents contents = Contents(dtype);
    WeightSetVersion::Record record;
    record.contents = Shapes(contents);
    const int64_t facts = WeightSetVersion::FactsBytes(record);
    auto builder = WeightSetBuilder::Start(std::move(record), own);
    ASSERT_TRUE(builder.ok()) << builder.status();
    EXPECT_EQ(own.held(), facts);
    ASSERT_TRUE(Give(contents, 64, **builder).ok());
    const int64_t bytes = (*builder)->tensor_bytes();
    // Each is a string, which has a byte more, and nothing for a few bytes.
    int64_t strings = 0;
    for (const NamedTensor& named : NamedTensors(contents)) {
      const auto size = static_cast<int64_t>(named.tensor->data.size());
      if (size > 15) strings += std::max<int64_t>(size, 30) + 1;
    }
    EXPECT_EQ(own.held(memory::Kind::kUploads), facts + strings);
    auto version = (*builder)->Finish(CanonicalSha256(contents));
    ASSERT_TRUE(version.ok()) << version.status();
    EXPECT_EQ(own.held(memory::Kind::kUploads), 0);
    EXPECT_EQ(own.held(memory::Kind::kWeights),
              facts + strings + (times - 1) * bytes);
    builder->reset();
    version->reset();
    EXPECT_EQ(own.held(), 0);
  }
}

TEST(WeightSetBuilder, PieceForWhichThereIsNoMemoryCanComeAgain) {
  const WeightSetContents contents = Contents(DType::kFloat64);
  memory::Ledger own(int64_t{8} * 1024);
  WeightSetVersion::Record record;
  record.contents = Shapes(contents);
  auto builder = WeightSetBuilder::Start(std::move(record), own);
  ASSERT_TRUE(builder.ok()) << builder.status();
  {
    memory::Loan others(own, memory::Kind::kMessages);
    ASSERT_TRUE(others.Take(own.lendable() - own.held() - 100));
    const absl::Status status = Give(contents, 64, **builder);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(ErrorField(status), "weights");
    EXPECT_THAT(std::string(status.message()), HasSubstr("--memory-limit"));
    EXPECT_LE((*builder)->taken_bytes(), 100);
  }
  // The piece that was refused left no trace.
  EXPECT_EQ((*builder)->taken_bytes(), 64);
  const absl::Status again = (*builder)->Take(
      "query.weight", 64, contents.query.weight.data.substr(64, 64));
  EXPECT_TRUE(again.ok()) << again;
}

TEST(WeightSetBuilder, IncompleteTensorsAreToldApart) {
  const WeightSetContents contents = Contents(DType::kFloat32);
  const auto builder = Start(Shapes(contents));
  EXPECT_EQ(builder->taken_bytes(), 0);
  EXPECT_EQ(ErrorField(builder->CheckComplete()), "sha256");
  ASSERT_TRUE(builder->Take("query.weight", 0, std::string(8, '\0')).ok());
  EXPECT_EQ(builder->taken_bytes(), 8);
  EXPECT_THAT(std::string(builder->CheckComplete().message()),
              HasSubstr("came after 8 of "));
}

TEST(WeightSetBuilder, RefusedPieceChangesNothing) {
  const WeightSetContents contents = Contents(DType::kFloat32);
  const auto builder = Start(Shapes(contents));
  ASSERT_TRUE(
      builder->Take("query.weight", 0, contents.query.weight.data.substr(0, 8))
          .ok());
  for (const int64_t offset : {0, 4, 16}) {
    EXPECT_EQ(ErrorField(builder->Take("query.weight", offset, "12345678")),
              "chunk.offset");
  }
  EXPECT_EQ(ErrorField(builder->Take("query.weight", 8, "\xff\xff\xff\x7f")),
            "weights.query.weight.data");
  EXPECT_EQ(builder->taken_bytes(), 8);
}

TEST(WeightSetBuilder, ShapesThatDoNotFitAreRefusedAtOnce) {
  WeightSetVersion::Record record;
  record.contents = Shapes(Contents(DType::kFloat32));
  record.contents.key.weight.shape[0] = 8;
  EXPECT_EQ(ErrorField(WeightSetBuilder::Start(record, ledger).status()),
            "weights.key.bias.shape[0]");
}

TEST(WeightSetBuilder, BytesThatCannotBeCountedAreRefused) {
  WeightSetVersion::Record record;
  record.contents = Shapes(Contents(DType::kFloat32, /*biases=*/false, 0));
  record.contents.value.weight.shape = {int64_t{1} << 31, int64_t{1} << 31};
  const absl::Status status = WeightSetBuilder::Start(record, ledger).status();
  EXPECT_EQ(ErrorField(status), "weights") << status;
}

TEST(WeightSetBuilder, OtherSha256IsDataLoss) {
  const WeightSetContents contents = Contents(DType::kFloat32);
  const auto builder = Start(Shapes(contents));
  ASSERT_TRUE(Give(contents, 64, *builder).ok());
  const absl::Status status = builder->Finish(std::string(64, '0')).status();
  EXPECT_EQ(status.code(), Code::kDataLoss);
  EXPECT_EQ(ErrorField(status), "sha256");
}

}  // namespace
}  // namespace attention::weights
