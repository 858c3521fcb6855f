// What the benchmark measures is what it says it measures.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "bench/cancel_trial.h"
#include "bench/float64_error.h"
#include "bench/kernel_case.h"
#include "bench/layer_case.h"
#include "bench/memory_growth.h"
#include "bench/projection_case.h"
#include "bench/socket_exchange.h"
#include "server/core/pool/compute_pool.h"

namespace attention::bench {
namespace {

TEST(KernelShape, IsReadFromItsName) {
  const KernelShape shape = KernelShape::FromName("causal_8x12x384x64");
  EXPECT_TRUE(shape.causal);
  EXPECT_EQ(shape.batch, 8);
  EXPECT_EQ(shape.heads, 12);
  EXPECT_EQ(shape.n, 384);
  EXPECT_EQ(shape.head_dim, 64);
  EXPECT_EQ(shape.input_scale, 1);
  EXPECT_EQ(KernelShape::FromName("steep_1x1x1x1").input_scale, 6);
  EXPECT_THROW(KernelShape::FromName("8x12x384"), std::runtime_error);
  EXPECT_THROW(KernelShape::FromName("8x12x384x64x"), std::runtime_error);
}

TEST(KernelShape, CountsOnlyUsefulFlops) {
  for (const bool causal : {false, true}) {
    const KernelShape shape{2, 3, 7, 5, causal};
    int64_t pairs = 0;
    for (int64_t i = 0; i < shape.n; ++i) {
      for (int64_t j = 0; j < shape.n; ++j) pairs += !causal || j <= i;
    }
    // A multiplication and an addition for score and output of every column.
    EXPECT_EQ(shape.UsefulFlops(),
              static_cast<double>(int64_t{2} * 3 * pairs * 5 * (2 + 2)));
  }
}

TEST(LayerCase, ComputesFiniteNumbers) {
  core::ComputePool pool(2);
  const LayerCase layer(3);
  EXPECT_TRUE(pool.Run(layer.Steps()).ok());
  EXPECT_EQ(layer.Flops(), 2.0 * (4 * 3 * 768 * 768 + 2 * 3 * 3 * 768));
}

TEST(ProjectionCase, ComputesTheSameIntoHeadsAndIntoOne) {
  // 200 rows are strips into heads and OpenBLAS into one. Sums of six products
  // and a bias, of numbers below 5: 8 roundoffs of 6 * 25 + 5 each, two ways.
  constexpr double kBound = 2 * 8 * 155 * 0x1p-24;
  core::ComputePool pool(2);
  const ProjectionCase heads({core::Layout::kInOut, 200, 6, 2});
  const ProjectionCase one({core::Layout::kInOut, 200, 6, 1});
  ASSERT_TRUE(pool.Run({heads.Step()}).ok());
  ASSERT_TRUE(pool.Run({one.Step()}).ok());
  EXPECT_EQ(heads.Flops(), 2.0 * 200 * 6 * 6);
  for (int64_t row = 0; row < 200; ++row) {
    for (int64_t column = 0; column < 6; ++column) {
      const float number = one.output().At(0, 0, row, column);
      EXPECT_NE(number, 0);
      EXPECT_NEAR(heads.output().At(0, column / 3, row, column % 3), number,
                  kBound);
    }
  }
}

TEST(SocketExchange, BringsBackEveryByteAndServesOncePerMessage) {
  int served = 0;
  {
    SocketExchange exchange(3 << 20, [&served] { ++served; });
    exchange.Once();
    exchange.Once();
    EXPECT_EQ(exchange.answer(), exchange.message());
    EXPECT_NE(exchange.answer()[1], exchange.answer()[2]);
  }
  EXPECT_EQ(served, 2);
}

class Float64ErrorTest : public testing::TestWithParam<bool> {
 protected:
  Float64ErrorTest() { EXPECT_TRUE(pool_.Run(kernel_.Steps()).ok()); }

  core::ComputePool pool_{2};
  const KernelCase kernel_{{2, 2, 33, 8, GetParam()}};
};

TEST_P(Float64ErrorTest, IsSmallForTheCore) {
  const Float64Error error = ErrorOf(kernel_, 1000, pool_);
  EXPECT_EQ(error.rows, 2 * 2 * 33);
  EXPECT_GT(error.worst, 0);
  EXPECT_LT(error.worst, 1e-5);
}

TEST_P(Float64ErrorTest, SeesOneWrongElement) {
  kernel_.output().At(1, 1, 32, 7) += 0.5F;
  EXPECT_NEAR(ErrorOf(kernel_, 1000, pool_).worst, 0.5, 1e-5);
}

TEST_P(Float64ErrorTest, SeesNaN) {
  kernel_.output().At(0, 1, 3, 2) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(ErrorOf(kernel_, 1000, pool_).worst,
            std::numeric_limits<double>::infinity());
}

TEST_P(Float64ErrorTest, SamplesEveryPlaceOfATile) {
  const Float64Error error = ErrorOf(kernel_, 66, pool_);
  EXPECT_EQ(error.rows, 44);  // of 132 every third: the step is odd
}

INSTANTIATE_TEST_SUITE_P(Causal, Float64ErrorTest, testing::Bool());

TEST(PeakGrowth, SeesMemoryThatIsFreedAgain) {
  constexpr int64_t kBytes = 32 << 20;
  const int64_t growth = PeakGrowth([] {
    const std::vector<char> memory(kBytes, 'x');
    EXPECT_EQ(memory.back(), 'x');
  });
  EXPECT_GE(growth, kBytes - (1 << 20));
  EXPECT_LE(growth, kBytes + (8 << 20));
  EXPECT_LE(PeakGrowth([] {}), 1 << 20);
}

TEST(MillisecondsAfter, IsNegativeForWhatWasDoneBefore) {
  core::ComputePool pool(2);
  const KernelCase tiny({1, 1, 6, 2});
  for (const Ending ending : {Ending::kCancel, Ending::kDeadline}) {
    EXPECT_LT(MillisecondsAfter(ending, std::chrono::seconds(2), tiny, pool),
              0);
  }
}

TEST(MillisecondsAfter, CountsFromTheEndOfInterest) {
  core::ComputePool pool(2);
  const KernelCase kernel({1, 64, 1024, 64});
  for (const Ending ending : {Ending::kCancel, Ending::kDeadline}) {
    EXPECT_GE(
        MillisecondsAfter(ending, std::chrono::milliseconds(1), kernel, pool),
        0);
  }
}

}  // namespace
}  // namespace attention::bench
