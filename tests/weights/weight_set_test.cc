#include "server/weights/weight_set.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/elements.h"
#include "proto/field_error.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr core::Layout kInOut = core::Layout::kInOut;
constexpr core::Layout kOutIn = core::Layout::kOutIn;

// A set with different sizes everywhere, so that no mistaken axis can hide: 6
// query heads on 2 key/value heads, head_dim 5, value_dim 7.
WeightSetContents AllDifferent(core::Layout layout,
                               DType dtype = DType::kFloat32) {
  const WeightSetDims dims{6, 2, 11, 13, 17, 5, 7, 19};
  return NumberedContents(dims, layout, dtype, /*biases=*/true);
}

absl::StatusOr<std::unique_ptr<WeightSetVersion>> Make(
    WeightSetContents contents) {
  WeightSetVersion::Record record;
  record.name = "set";
  record.contents = std::move(contents);
  return WeightSetVersion::Make(std::move(record));
}

// Expects the error for `contents` once `change` has been made to it.
void ExpectRefused(WeightSetContents contents,
                   const std::function<void(WeightSetContents&)>& change,
                   const std::string& message) {
  ASSERT_TRUE(Make(contents).ok()) << Make(contents).status();
  change(contents);
  const absl::Status status = Make(std::move(contents)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), message);
  // The message starts with the field; then a space.
  EXPECT_EQ(message.rfind(ErrorField(status) + " ", 0), 0u);
  EXPECT_FALSE(ErrorField(status).empty());
}

TEST(WeightSet, WidthsComeFromTheShapesInBothLayouts) {
  for (const core::Layout layout : {kInOut, kOutIn}) {
    const auto version = Make(AllDifferent(layout));
    ASSERT_TRUE(version.ok()) << version.status();
    const WeightSetDims& dims = (*version)->dims();
    EXPECT_EQ(dims.num_heads, 6);
    EXPECT_EQ(dims.num_kv_heads, 2);
    EXPECT_EQ(dims.query_width, 11);
    EXPECT_EQ(dims.key_width, 13);
    EXPECT_EQ(dims.value_width, 17);
    EXPECT_EQ(dims.head_dim, 5);
    EXPECT_EQ(dims.value_dim, 7);
    EXPECT_EQ(dims.output_width, 19);
  }
}

TEST(WeightSet, WithoutOutputProjectionTheHeadsAreTheOutput) {
  WeightSetContents contents = AllDifferent(kInOut);
  contents.output.reset();
  const auto version = Make(std::move(contents));
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ((*version)->dims().output_width, 6 * 7);
  EXPECT_FALSE((*version)->As<float>()->output.has_value());
}

TEST(WeightSet, HeadCountsAreChecked) {
  const WeightSetContents contents = AllDifferent(kInOut);
  ExpectRefused(
      contents, [](auto& c) { c.num_heads = 0; },
      "weights.num_heads is 0; expected at least 1");
  ExpectRefused(
      contents, [](auto& c) { c.num_kv_heads = -2; },
      "weights.num_kv_heads is -2; expected a divisor of num_heads, "
      "which is 6");
  ExpectRefused(
      contents, [](auto& c) { c.num_kv_heads = 4; },
      "weights.num_kv_heads is 4; expected a divisor of num_heads, "
      "which is 6");
}

TEST(WeightSet, RanksAndEmptyAxesAreChecked) {
  const WeightSetContents contents = AllDifferent(kInOut);
  ExpectRefused(
      contents, [](auto& c) { c.key.weight.shape = {130}; },
      "weights.key.weight.shape is [130]; expected [in, out]");
  ExpectRefused(
      AllDifferent(kOutIn),
      [](auto& c) {
        c.query.weight.shape = {1, 30, 11};
      },
      "weights.query.weight.shape is [1, 30, 11]; expected [out, in]");
  ExpectRefused(
      contents,
      [](auto& c) {
        c.output->bias->shape = {1, 19};
      },
      "weights.output.bias.shape is [1, 19]; expected [out]");
  ExpectRefused(
      contents,
      [](auto& c) {
        c.value.weight.shape = {0, 14};
      },
      "weights.value.weight.shape[0] is 0; expected at least 1");
  ExpectRefused(
      contents,
      [](auto& c) {
        c.value.weight.shape = {17, -14};
      },
      "weights.value.weight.shape[1] is -14; expected at least 1");
}

TEST(WeightSet, ByteCountsAreCheckedWithoutOverflow) {
  const WeightSetContents contents = AllDifferent(kInOut);
  ExpectRefused(
      contents, [](auto& c) { c.key.bias->data.pop_back(); },
      "weights.key.bias.data has 39 bytes but shape [10] takes 40");
  // 2^32 * 2^32 * 4 bytes is 0 modulo 2^64.
  ExpectRefused(
      contents,
      [](auto& c) {
        c.query.weight.shape = {int64_t{1} << 32, int64_t{1} << 32};
        c.query.weight.data.clear();
      },
      "weights.query.weight.data has 0 bytes but shape [4294967296, "
      "4294967296] takes 9223372036854775807");
}

TEST(WeightSet, QueryColumnsMustDivideIntoHeads) {
  const auto change = [](WeightSetContents& c) {
    c.query.bias.reset();
    c.query.weight = Numbered({11, 32}, c.dtype);
  };
  ExpectRefused(AllDifferent(kInOut), change,
                "weights.query.weight.shape[1] is 32 but num_heads is 6; "
                "expected a multiple, num_heads * head_dim");
}

TEST(WeightSet, KeyColumnsMustFitTheQuery) {
  ExpectRefused(
      AllDifferent(kOutIn),
      [](WeightSetContents& c) {
        c.key.bias.reset();
        c.key.weight = Numbered({12, 13}, c.dtype);
      },
      "weights.key.weight.shape[0] is 12; expected num_kv_heads * "
      "head_dim = 2 * 5, as weights.query.weight.shape[0] is 30 for "
      "6 heads");
}

TEST(WeightSet, ValueColumnsMustDivideIntoKeyValueHeads) {
  ExpectRefused(
      AllDifferent(kInOut),
      [](WeightSetContents& c) {
        c.value.bias.reset();
        c.value.weight = Numbered({17, 15}, c.dtype);
      },
      "weights.value.weight.shape[1] is 15 but num_kv_heads is 2; "
      "expected a multiple, num_kv_heads * value_dim");
}

TEST(WeightSet, OutputProjectionTakesAllHeads) {
  ExpectRefused(
      AllDifferent(kInOut),
      [](WeightSetContents& c) {
        c.output->weight = Numbered({14, 19}, c.dtype);
      },
      "weights.output.weight.shape[0] is 14; expected num_heads * "
      "value_dim = 6 * 7, as weights.value.weight.shape[1] is 14 for "
      "2 heads");
}

TEST(WeightSet, BiasIsAsLongAsItsProjectionIsWide) {
  ExpectRefused(
      AllDifferent(kInOut),
      [](WeightSetContents& c) { c.key.bias = Numbered({13}, c.dtype); },
      "weights.key.bias.shape[0] is 13 but weights.key.weight."
      "shape[1] is 10; both are out");
  ExpectRefused(
      AllDifferent(kOutIn),
      [](WeightSetContents& c) { c.output->bias = Numbered({42}, c.dtype); },
      "weights.output.bias.shape[0] is 42 but weights.output.weight."
      "shape[0] is 19; both are out");
}

TEST(WeightSet, UnknownDtypeIsRefused) {
  ExpectRefused(
      AllDifferent(kInOut), [](auto& c) { c.dtype = static_cast<DType>(5); },
      "weights.query.weight.dtype is 5; expected FLOAT32, FLOAT64, "
      "FLOAT16 or BFLOAT16");
}

template <typename Element>
void Put(StoredTensor& tensor, size_t index, Element element) {
  std::memcpy(&tensor.data[index * sizeof(Element)], &element, sizeof(Element));
}

TEST(WeightSet, NotFiniteElementsAreRefusedByTensorAndIndex) {
  const float infinity = std::numeric_limits<float>::infinity();
  ExpectRefused(
      AllDifferent(kInOut),
      [](auto& c) { Put(c.query.weight, 31, std::nanf("")); },
      "weights.query.weight.data at index [1, 1] is NaN; expected a "
      "finite number");
  ExpectRefused(
      AllDifferent(kOutIn),
      [=](auto& c) { Put(c.output->bias.value(), 18, infinity); },
      "weights.output.bias.data at index [18] is +inf; expected a "
      "finite number");
  ExpectRefused(
      AllDifferent(kInOut, DType::kFloat64),
      [=](auto& c) { Put(c.value.weight, 0, double{-infinity}); },
      "weights.value.weight.data at index [0, 0] is -inf; expected a "
      "finite number");
  ExpectRefused(
      AllDifferent(kInOut, DType::kFloat16),
      [](auto& c) { Put(c.key.weight, 129, uint16_t{0x7c00}); },
      "weights.key.weight.data at index [12, 9] is +inf; expected a "
      "finite number");
  ExpectRefused(
      AllDifferent(kInOut, DType::kBfloat16),
      [](auto& c) { Put(c.key.weight, 10, uint16_t{0x7f81}); },
      "weights.key.weight.data at index [1, 0] is NaN; expected a "
      "finite number");
}

TEST(WeightSet, FirstOfSeveralNotFiniteElementsIsNamed) {
  // More elements than are looked at together.
  const WeightSetDims dims{1, 1, 64, 64, 64, 64, 64, 0};
  ExpectRefused(
      NumberedContents(dims, kInOut, DType::kFloat32, false),
      [](auto& c) {
        Put(c.key.weight, 64 * 40 + 3, std::nanf(""));
        Put(c.key.weight, 64 * 40 + 2, std::nanf(""));
      },
      "weights.key.weight.data at index [40, 2] is NaN; expected a "
      "finite number");
}

// Every element of a projection, as the computation will see it.
template <typename T>
void ExpectNumbered(const core::Projection<T>& projection,
                    const StoredProjection& stored, DType dtype) {
  const std::vector<double> weight = ElementsOf(stored.weight, dtype);
  ASSERT_EQ(static_cast<size_t>(projection.in * projection.out), weight.size());
  EXPECT_THAT(
      std::vector<double>(projection.weight, projection.weight + weight.size()),
      ElementsAreArray(weight));
  ASSERT_NE(projection.bias, nullptr);
  const std::vector<double> bias = ElementsOf(*stored.bias, dtype);
  EXPECT_THAT(
      std::vector<double>(projection.bias, projection.bias + projection.out),
      ElementsAreArray(bias));
}

TEST(WeightSet, EveryDtypeComputesInFloatAndDouble) {
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16}) {
    for (const core::Layout layout : {kInOut, kOutIn}) {
      const auto made = Make(AllDifferent(layout, dtype));
      ASSERT_TRUE(made.ok()) << made.status();
      const WeightSetContents& contents = (*made)->record().contents;
      const auto expect_all = [&](const auto& layer) {
        EXPECT_EQ(layer.num_heads, 6);
        EXPECT_EQ(layer.num_kv_heads, 2);
        EXPECT_EQ(layer.key.in, 13);
        EXPECT_EQ(layer.key.out, 10);
        EXPECT_EQ(layer.key.layout, layout);
        ExpectNumbered(layer.query, contents.query, dtype);
        ExpectNumbered(layer.key, contents.key, dtype);
        ExpectNumbered(layer.value, contents.value, dtype);
        ExpectNumbered(*layer.output, *contents.output, dtype);
      };
      expect_all(*(*made)->As<float>());
      expect_all(*(*made)->As<double>());
    }
  }
}

TEST(WeightSet, ElementsOfTheComputeTypeAreUsedInPlace) {
  const auto version = Make(AllDifferent(kInOut));
  EXPECT_EQ(static_cast<const void*>((*version)->As<float>()->key.weight),
            (*version)->record().contents.key.weight.data.data());
}

TEST(WeightSet, AbsentBiasIsNull) {
  WeightSetContents contents = AllDifferent(kInOut);
  contents.value.bias.reset();
  const auto version = Make(std::move(contents));
  EXPECT_EQ((*version)->As<float>()->value.bias, nullptr);
  EXPECT_NE((*version)->As<float>()->key.bias, nullptr);
}

TEST(WeightSet, DoubleBeyondFloatFailsOnlyWhenComputingInFloat) {
  WeightSetContents contents = AllDifferent(kInOut, DType::kFloat64);
  Put(contents.key.weight, 12, 1e39);
  const auto version = Make(std::move(contents));
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE((*version)->As<double>().ok());
  for (int repetition = 0; repetition < 2; ++repetition) {
    const absl::Status status = (*version)->As<float>().status();
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(ErrorField(status), "weight_set");
    EXPECT_EQ(status.message(),
              "weight_set has 1e+39 in key.weight at index [1, 2], beyond the "
              "range of FLOAT32; with a FLOAT64 query the computation is in "
              "FLOAT64");
  }
}

TEST(WeightSet, ManyThreadsPrepareTheOtherTypeOnce) {
  const auto version = Make(AllDifferent(kInOut));
  std::vector<const double*> weights(8);
  std::vector<std::thread> threads;
  threads.reserve(weights.size());
  for (const double*& weight : weights) {
    threads.emplace_back(
        [&] { weight = (*version)->As<double>()->query.weight; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(weights, testing::Each(weights.front()));
  EXPECT_EQ(weights.front()[3], 3);
}

TEST(WeightSet, TensorBytesCountsEveryTensor) {
  const auto version = Make(AllDifferent(kInOut, DType::kFloat16));
  const int64_t elements =
      11 * 30 + 30 + 13 * 10 + 10 + 17 * 14 + 14 + 42 * 19 + 19;
  EXPECT_EQ((*version)->tensor_bytes(), 2 * elements);
}

// Of the type it is stored for nothing is taken; of the other all of it, once.
TEST(WeightSet, CopyInAnotherTypeIsTakenOutOfTheLedgerAndGivenBack) {
  const int64_t elements =
      11 * 30 + 30 + 13 * 10 + 10 + 17 * 14 + 14 + 42 * 19 + 19;
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16}) {
    memory::Ledger ledger(int64_t{1} << 30);
    const auto converted = [&] {
      return ledger.held(memory::Kind::kConvertedWeights);
    };
    {
      WeightSetVersion::Record record;
      record.contents = AllDifferent(kInOut, dtype);
      const auto version = WeightSetVersion::Make(
          std::move(record), memory::Loan(ledger, memory::Kind::kWeights));
      ASSERT_TRUE(version.ok()) << version.status();
      const bool in_double = dtype == DType::kFloat64;
      ASSERT_TRUE((*version)->As<float>().ok());
      EXPECT_EQ(converted(), in_double ? 4 * elements : 0);
      for (int times = 0; times < 2; ++times) {
        ASSERT_TRUE((*version)->As<double>().ok());
        EXPECT_EQ(converted(), (in_double ? 4 : 8) * elements);
      }
    }
    EXPECT_EQ(converted(), 0);
  }
}

TEST(WeightSet, StoredShaMustBeThatOfTheContents) {
  WeightSetVersion::Record record;
  record.name = "set";
  record.version = 3;
  record.contents = AllDifferent(kInOut);
  record.sha256 = CanonicalSha256(record.contents);
  EXPECT_TRUE(WeightSetVersion::Make(record).ok());
  record.contents.key.weight.data[0] ^= 1;
  const absl::Status status = WeightSetVersion::Make(record).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("\"set\" version 3 was stored with sha256"));
}

}  // namespace
}  // namespace attention::weights
