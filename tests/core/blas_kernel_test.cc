#include "server/core/blas/kernels.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::core {
namespace {

using testing::ElementsAre;

constexpr VectorSets kOld = {false, false};
constexpr VectorSets kAvx2 = {true, false};
constexpr VectorSets kAvx512 = {true, true};

TEST(BlasKernelsToTryTest, AnUnknownProcessorGetsTheBestKnownKernel) {
  EXPECT_THAT(BlasKernelsToTry("Prescott", false, kAvx512),
              ElementsAre("SkylakeX", "Haswell", "Prescott"));
  EXPECT_THAT(BlasKernelsToTry("Prescott", false, kAvx2),
              ElementsAre("Haswell", "Prescott"));
  EXPECT_THAT(BlasKernelsToTry("Nehalem", false, kAvx2),
              ElementsAre("Haswell", "Nehalem"));
  EXPECT_THAT(BlasKernelsToTry("Sandybridge", false, kAvx512),
              ElementsAre("SkylakeX", "Haswell", "Sandybridge"));
}

TEST(BlasKernelsToTryTest, EveryOtherChoiceOfTheLibraryIsLeft) {
  EXPECT_THAT(BlasKernelsToTry("Zen", false, kAvx512),
              ElementsAre("Zen", "SkylakeX", "Haswell"));
  EXPECT_THAT(BlasKernelsToTry("Cooperlake", false, kAvx512),
              ElementsAre("Cooperlake", "SkylakeX", "Haswell"));
  EXPECT_THAT(BlasKernelsToTry("SkylakeX", false, kAvx512),
              ElementsAre("SkylakeX", "Haswell"));
  EXPECT_THAT(BlasKernelsToTry("Haswell", false, kAvx2),
              ElementsAre("Haswell"));
  EXPECT_THAT(BlasKernelsToTry("OfTomorrow", false, kAvx2),
              ElementsAre("OfTomorrow", "Haswell"));
}

TEST(BlasKernelsToTryTest, WhatTheProcessorLacksIsNotTried) {
  EXPECT_THAT(BlasKernelsToTry("Prescott", false, kOld),
              ElementsAre("Prescott"));
}

TEST(BlasKernelsToTryTest, WhatSomebodyAskedForComesFirst) {
  EXPECT_THAT(BlasKernelsToTry("Prescott", true, kAvx512),
              ElementsAre("Prescott", "SkylakeX", "Haswell"));
}

TEST(VectorSetsTest, TheBestIsNamed) {
  EXPECT_EQ(kOld.Best(), "no AVX2");
  EXPECT_EQ(kAvx2.Best(), "AVX2 and FMA");
  EXPECT_EQ(kAvx512.Best(), "AVX-512 F, DQ, BW, VL and CD");
}

}  // namespace
}  // namespace attention::core
