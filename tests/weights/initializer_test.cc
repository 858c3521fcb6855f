#include "server/weights/initializer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "server/weights/named_tensor.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::Pointwise;

constexpr core::Layout kInOut = core::Layout::kInOut;
constexpr core::Layout kOutIn = core::Layout::kOutIn;

// One head of 3 -> 2, as in the chapter.
Initializer Chapter(Distribution distribution, uint32_t seed,
                    core::Layout layout) {
  return {distribution, seed, layout, WeightSetDims{1, 1, 3, 3, 3, 2, 2, 0}};
}

WeightSetContents Drawn(const Initializer& initializer) {
  EXPECT_TRUE(InitializedBytes(initializer).ok());
  WeightSetContents drawn = Initialize(initializer);
  EXPECT_TRUE(CheckShapes(drawn).ok()) << CheckShapes(drawn).status();
  return drawn;
}

// The chapter prints nine significant digits, which tell every float from its
// neighbours: the nearest float of each must be the one that was drawn.
MATCHER(IsTheFloatPrinted, "") {
  return std::get<0>(arg) == static_cast<float>(std::get<1>(arg));
}

void ExpectPrinted(const StoredTensor& tensor,
                   const std::vector<double>& printed) {
  EXPECT_THAT(ElementsOf(tensor, DType::kFloat32),
              Pointwise(IsTheFloatPrinted(), printed));
}

TEST(Initializer, UniformIsTheChaptersTorchRand) {
  const WeightSetContents drawn =
      Drawn(Chapter(Distribution::kUniform, 123, kInOut));
  EXPECT_THAT(drawn.query.weight.shape, ElementsAre(3, 2));
  ExpectPrinted(drawn.query.weight, {0.296111941, 0.516562283, 0.251670718,
                                     0.688556790, 0.0739724636, 0.866521955});
  ExpectPrinted(drawn.key.weight, {0.136579871, 0.102479041, 0.184056461,
                                   0.726446748, 0.315253913, 0.687106669});
  ExpectPrinted(drawn.value.weight, {0.0756353140, 0.196638167, 0.316411972,
                                     0.401740134, 0.118568301, 0.827395380});
}

TEST(Initializer, LinearIsTheChaptersNnLinear) {
  const WeightSetContents drawn =
      Drawn(Chapter(Distribution::kLinear, 789, kOutIn));
  EXPECT_THAT(drawn.query.weight.shape, ElementsAre(2, 3));
  ExpectPrinted(drawn.query.weight,
                {0.316059083, 0.456808567, 0.511834860, -0.168285400,
                 -0.337877035, -0.0917738676});
  ExpectPrinted(drawn.key.weight, {0.405805826, -0.470420539, 0.236805201,
                                   0.213360742, -0.260050654, -0.510542989});
  ExpectPrinted(drawn.value.weight, {0.252569884, -0.141478270, -0.196181342,
                                     0.519107401, -0.0851675794, -0.204327047});
}

TEST(Initializer, OutputProjectionFollowsInTheChaptersMultiHeadAttention) {
  Initializer initializer = Chapter(Distribution::kLinear, 123, kOutIn);
  initializer.dims = {2, 2, 3, 3, 3, 1, 1, 2};
  initializer.output_bias = true;
  const WeightSetContents drawn = Drawn(initializer);
  ExpectPrinted(drawn.query.weight, {-0.235429645, 0.0191244762, -0.286745936,
                                     0.217726618, -0.491934210, 0.423223078});
  ExpectPrinted(drawn.key.weight, {-0.419641405, -0.459017664, -0.364820182,
                                   0.261478186, -0.213326395, 0.216052175});
  ExpectPrinted(drawn.value.weight, {-0.490014136, -0.350292057, -0.211989194,
                                     -0.113460720, -0.440439373, 0.378043622});
  EXPECT_THAT(drawn.output->weight.shape, ElementsAre(2, 2));
  ExpectPrinted(drawn.output->weight,
                {-0.166757792, 0.226972580, 0.500025988, 0.131738231});
  EXPECT_THAT(drawn.output->bias->shape, ElementsAre(2));
  ExpectPrinted(*drawn.output->bias, {0.193358868, 0.682540953});
}

// Which of the generator's numbers each tensor got: those of kUniform are
// bits * 2^-24, and so tell.
TEST(Initializer, NumbersAreDrawnInTheOrderOfTheContract) {
  Initializer initializer;
  initializer.seed = 5;
  initializer.dims = {2, 1, 3, 4, 5, 6, 7, 8};
  initializer.input_bias = true;
  initializer.output_bias = true;
  const WeightSetContents drawn = Drawn(initializer);
  std::mt19937 generator(5);
  for (const StoredTensor* tensor :
       {&drawn.query.weight, &*drawn.query.bias, &drawn.key.weight,
        &*drawn.key.bias, &drawn.value.weight, &*drawn.value.bias,
        &drawn.output->weight, &*drawn.output->bias}) {
    for (const double number : ElementsOf(*tensor, DType::kFloat32)) {
      EXPECT_EQ(number, std::ldexp(generator() % (1 << 24), -24));
    }
  }
}

TEST(Initializer, ShapesFollowDimsAndLayout) {
  Initializer initializer;
  initializer.dims = {6, 2, 11, 13, 17, 5, 7, 19};
  for (const core::Layout layout : {kInOut, kOutIn}) {
    initializer.layout = layout;
    const WeightSetContents drawn = Drawn(initializer);
    EXPECT_EQ(drawn.layout, layout);
    EXPECT_EQ(drawn.dtype, DType::kFloat32);
    const WeightSetDims dims = *CheckShapes(drawn);
    EXPECT_EQ(dims.num_heads, 6);
    EXPECT_EQ(dims.num_kv_heads, 2);
    EXPECT_EQ(dims.query_width, 11);
    EXPECT_EQ(dims.key_width, 13);
    EXPECT_EQ(dims.value_width, 17);
    EXPECT_EQ(dims.head_dim, 5);
    EXPECT_EQ(dims.value_dim, 7);
    EXPECT_EQ(dims.output_width, 19);
    EXPECT_FALSE(drawn.query.bias.has_value());
    EXPECT_FALSE(drawn.output->bias.has_value());
  }
}

// Smallest and largest of a tensor.
std::pair<double, double> Range(const StoredTensor& tensor) {
  const std::vector<double> elements = ElementsOf(tensor, DType::kFloat32);
  const auto [low, high] =
      std::minmax_element(elements.begin(), elements.end());
  return {*low, *high};
}

TEST(Initializer, EveryDistributionFillsItsRange) {
  Initializer initializer;
  initializer.dims = {4, 4, 64, 64, 64, 16, 16, 32};
  initializer.input_bias = true;
  const struct {
    Distribution distribution;
    double low, high;
  } cases[] = {{Distribution::kUniform, 0, 1},
               {Distribution::kLinear, -1 / std::sqrt(64), 1 / std::sqrt(64)},
               {Distribution::kXavierUniform, -std::sqrt(6.0 / (64 + 64)),
                std::sqrt(6.0 / (64 + 64))}};
  for (const auto& [distribution, low, high] : cases) {
    initializer.distribution = distribution;
    const auto [least, most] = Range(Drawn(initializer).query.weight);
    // The bound itself is rounded to float, by at most 2^-24 of it.
    EXPECT_GE(least, low * (1 + std::ldexp(1, -24)));
    EXPECT_LE(most, high * (1 + std::ldexp(1, -24)));
    // Of 4096 numbers, none in an outer hundredth has probability 0.99^4096,
    // below 2e-18.
    EXPECT_LT(least, low + (high - low) / 100);
    EXPECT_GT(most, high - (high - low) / 100);
  }
}

TEST(Initializer, XavierBiasIsZeroAndDrawsNothing) {
  Initializer initializer = Chapter(Distribution::kXavierUniform, 1, kInOut);
  const WeightSetContents without = Drawn(initializer);
  initializer.input_bias = true;
  const WeightSetContents with = Drawn(initializer);
  EXPECT_THAT(ElementsOf(*with.key.bias, DType::kFloat32), ElementsAre(0, 0));
  EXPECT_EQ(with.value.weight.data, without.value.weight.data);
}

TEST(Initializer, SeedChangesTheWeights) {
  EXPECT_NE(Drawn(Chapter(Distribution::kLinear, 1, kInOut)).key.weight.data,
            Drawn(Chapter(Distribution::kLinear, 2, kInOut)).key.weight.data);
}

void ExpectRefused(const Initializer& initializer, const std::string& message) {
  const absl::Status status = InitializedBytes(initializer).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(), message);
  EXPECT_EQ(message.rfind(ErrorField(status) + " ", 0), 0u);
}

TEST(Initializer, EverySizeMustBeAtLeastOne) {
  const std::pair<const char*, int64_t WeightSetDims::*> sizes[] = {
      {"num_heads", &WeightSetDims::num_heads},
      {"num_kv_heads", &WeightSetDims::num_kv_heads},
      {"query_width", &WeightSetDims::query_width},
      {"key_width", &WeightSetDims::key_width},
      {"value_width", &WeightSetDims::value_width},
      {"head_dim", &WeightSetDims::head_dim},
      {"value_dim", &WeightSetDims::value_dim}};
  for (const auto& [name, size] : sizes) {
    Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
    initializer.dims.*size = 0;
    ExpectRefused(initializer, "initializer." + std::string(name) +
                                   " is 0; expected at least 1");
  }
  Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
  initializer.dims.output_width = -3;
  ExpectRefused(initializer,
                "initializer.output_width is -3; expected at least 1");
}

TEST(Initializer, KeyValueHeadsMustDivideHeads) {
  Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
  initializer.dims.num_heads = 6;
  initializer.dims.num_kv_heads = 4;
  ExpectRefused(initializer,
                "initializer.num_kv_heads is 4; expected a divisor of "
                "num_heads, which is 6");
}

TEST(Initializer, OutputBiasNeedsAnOutputProjection) {
  Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
  initializer.output_bias = true;
  ExpectRefused(initializer,
                "initializer.output_bias is true without an output_width; "
                "there is no output projection to have a bias");
}

TEST(Initializer, BytesAreThoseOfTheTensorsDrawn) {
  Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
  initializer.dims = {6, 2, 11, 13, 17, 5, 7, 19};
  initializer.input_bias = true;
  initializer.output_bias = true;
  size_t bytes = 0;
  const WeightSetContents drawn = Drawn(initializer);
  for (const NamedTensor& named : NamedTensors(drawn)) {
    bytes += named.tensor->data.size();
  }
  EXPECT_EQ(InitializedBytes(initializer).value(), bytes);
  EXPECT_EQ(bytes,
            4u * (11 * 30 + 30 + 13 * 10 + 10 + 17 * 14 + 14 + 42 * 19 + 19));
}

TEST(Initializer, BytesThatOverflowAreAsManyAsCanBeCounted) {
  const int64_t huge = std::numeric_limits<int32_t>::max();
  Initializer initializer = Chapter(Distribution::kUniform, 1, kInOut);
  initializer.dims = {huge, huge, huge, huge, huge, huge, huge, huge};
  EXPECT_EQ(InitializedBytes(initializer).value(),
            std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace attention::weights
