#include "server/core/blas/blas.h"

#include <iostream>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/core/blas/self_test.h"

namespace attention::core {
namespace {

TEST(BlasTest, MultipliesEveryKernelEdgeRight) {
  const absl::Status status = BlasSelfTest();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(BlasTest, RepeatsItsBits) {
  const absl::Status status = BlasRepeatTest();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(BlasTest, TheThreadSafeFlavourIsLoaded) {
  const absl::Status status = CheckBlasFlavour();
  EXPECT_TRUE(status.ok()) << status;
}

TEST(BlasTest, NamesItsKernel) {
  EXPECT_FALSE(BlasKernel().empty());
  std::cout << "kernel " << BlasKernel() << "\n";
  EXPECT_THAT(BlasConfig(), testing::HasSubstr("OpenBLAS"));
}

TEST(BlasTest, AnEmptySumIsBetaTimesOutput) {
  std::vector<float> output = {1, 2, 3, 4};
  Gemm<float>(Transpose::kNo, Transpose::kNo, 2, 2, 0, 1, nullptr, 1, nullptr,
              2, 0.5f, output.data(), 2);
  EXPECT_THAT(output, testing::ElementsAre(0.5f, 1, 1.5f, 2));
  Gemm<float>(Transpose::kNo, Transpose::kNo, 2, 2, 0, 1, nullptr, 1, nullptr,
              2, 0, output.data(), 2);
  EXPECT_THAT(output, testing::Each(0));
}

}  // namespace
}  // namespace attention::core
