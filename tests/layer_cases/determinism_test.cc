// The same request gives the same bits: alone or in a batch, whatever the
// number of threads and whatever else is being computed.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/layer_cases/determinism_check.h"
#include "tests/layer_cases/test_scale.h"

namespace attention::core {
namespace {

constexpr uint64_t kSeed = 20000;
constexpr int64_t kRequests = 200;

CoreAnswer Core(const LayerCase& layer_case, ComputePool* pool) {
  return RunCore(layer_case, pool);
}

void ExpectTheSameBits(const DeterminismSetting& setting) {
  const DeterminismReport report =
      CheckDeterminism(Core, Scaled(kRequests), kSeed, setting);
  EXPECT_EQ(report.differing_elements, 0) << report.first_difference;
  EXPECT_GT(report.elements, report.requests);
}

TEST(DeterminismTest, OnTheCallingThread) { ExpectTheSameBits({0, false}); }
TEST(DeterminismTest, OnOneThread) { ExpectTheSameBits({1, false}); }
TEST(DeterminismTest, OnTwoThreads) { ExpectTheSameBits({2, false}); }
TEST(DeterminismTest, OnFourThreads) { ExpectTheSameBits({4, false}); }
TEST(DeterminismTest, OnOneThreadUnderLoad) { ExpectTheSameBits({1, true}); }
TEST(DeterminismTest, OnTwoThreadsUnderLoad) { ExpectTheSameBits({2, true}); }
TEST(DeterminismTest, OnFourThreadsUnderLoad) { ExpectTheSameBits({4, true}); }

// The check itself: each deliberate mistake must show.
constexpr int64_t kPlantedRequests = 20;

TEST(DeterminismCheck, SeesATileThatDependsOnThreads) {
  const Compute planted = ThreadDependentTile();
  EXPECT_EQ(CheckDeterminism(planted, kPlantedRequests, kSeed, {1, false})
                .differing_elements,
            0)
      << "one thread is one tile, as on the calling thread";
  const DeterminismReport report =
      CheckDeterminism(planted, kPlantedRequests, kSeed, {2, false});
  EXPECT_GT(report.differing_elements, 0);
  EXPECT_THAT(report.first_difference, ::testing::HasSubstr("2 threads"));
}

TEST(DeterminismCheck, SeesATileThatDependsOnTheBatch) {
  EXPECT_GT(CheckDeterminism(BatchDependentTile(), kPlantedRequests, kSeed,
                             {0, false})
                .differing_elements,
            0);
}

TEST(DeterminismCheck, SeesATileThatDependsOnTheLoad) {
  const Compute planted = LoadDependentTile();
  EXPECT_EQ(CheckDeterminism(planted, kPlantedRequests, kSeed, {2, false})
                .differing_elements,
            0)
      << "without load there is one computation at a time";
  EXPECT_GT(CheckDeterminism(planted, kPlantedRequests, kSeed, {2, true})
                .differing_elements,
            0);
}

}  // namespace
}  // namespace attention::core
