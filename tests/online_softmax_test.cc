#include "server/core/online_softmax.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/aligned_allocator.h"
#include "hwy/targets.h"

namespace attention::core {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Runs the body once for each instruction set of this machine.
class OnlineSoftmaxTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { Choose(GetParam()); }
  void TearDown() override { Choose(0); }

 private:
  // 0: what the machine has.
  static void Choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, OnlineSoftmaxTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& target) {
                           return hwy::TargetName(target.param);
                         });

// One row of scores, aligned and padded as OnlineSoftmax wants it.
template <typename T>
struct Row {
  explicit Row(const std::vector<T>& numbers)
      : count(static_cast<int64_t>(numbers.size())),
        memory(hwy::AllocateAligned<T>(
            static_cast<size_t>(PaddedColumns(count)))) {
    std::copy(numbers.begin(), numbers.end(), memory.get());
  }

  bool Fold(KeyRange visible, bool prepared = false) {
    return OnlineSoftmax<T>(1, count, prepared, memory.get(),
                            PaddedColumns(count), &visible, &state,
                            output.data(), 3);
  }

  int64_t count;
  hwy::AlignedFreeUniquePtr<T[]> memory;
  RowState<T> state{-std::numeric_limits<T>::infinity(), 0, false};
  std::vector<T> output = {1, 2, 3};
};

TEST_P(OnlineSoftmaxTest, ExpIsWithinOneUlp) {
  // 0 first, so that the maximum is 0 and each score its own exponent.
  std::vector<float> exponents = {0};
  for (float x = -1e-9f; x > -105.0f; x *= 1.00002f) exponents.push_back(x);
  Row<float> row(exponents);
  ASSERT_TRUE(row.Fold({0, row.count}));
  for (size_t i = 0; i < exponents.size(); ++i) {
    const double exact = std::exp(static_cast<double>(exponents[i]));
    const auto rounded = static_cast<float>(exact);
    const auto ulp =
        static_cast<double>(std::nextafter(rounded, kInfinity) - rounded);
    ASSERT_LE(std::abs(row.memory[i] - exact), ulp) << exponents[i];
  }
}

TEST_P(OnlineSoftmaxTest, WhatIsFarBelowTheMaximumIsZero) {
  Row<float> row({0, -105, -1000, std::numeric_limits<float>::lowest()});
  ASSERT_TRUE(row.Fold({0, 4}));
  EXPECT_EQ(row.memory[0], 1.0f);
  for (int i = 1; i < 4; ++i) {
    EXPECT_EQ(row.memory[static_cast<size_t>(i)], 0.0f);
  }
  EXPECT_EQ(row.state.sum, 1.0);
}

TEST_P(OnlineSoftmaxTest, OnlyVisibleColumnsCountWhereverTheyBegin) {
  for (int64_t begin = 0; begin < 40; ++begin) {
    for (int64_t end = begin; end <= 40; ++end) {
      std::vector<double> scores(40, 1000.0);  // would drown the visible ones
      for (int64_t j = begin; j < end; ++j) {
        scores[static_cast<size_t>(j)] = static_cast<double>(j - begin);
      }
      Row<double> row(scores);
      ASSERT_TRUE(row.Fold({begin, end}));
      EXPECT_EQ(row.state.live, end > begin);
      for (int64_t j = 0; j < 40; ++j) {
        const double expected =
            begin <= j && j < end ? std::exp(static_cast<double>(j - (end - 1)))
                                  : 0.0;
        ASSERT_NEAR(row.memory[static_cast<size_t>(j)], expected, 0x1p-51)
            << begin << " to " << end << " at " << j;
      }
    }
  }
}

TEST_P(OnlineSoftmaxTest, ALargerMaximumShrinksWhatCameBefore) {
  Row<float> first({1, 2});
  ASSERT_TRUE(first.Fold({0, 2}));
  Row<float> second({5});
  second.state = first.state;
  const double before = first.state.sum;
  ASSERT_TRUE(second.Fold({0, 1}));
  const float shrink = std::exp(2.0f - 5.0f);
  EXPECT_EQ(second.state.max, 5.0f);
  EXPECT_EQ(second.state.sum, before * static_cast<double>(shrink) + 1);
  EXPECT_EQ(second.output[1], 2 * shrink);
}

TEST_P(OnlineSoftmaxTest, AScoreThatIsNotFiniteIsReportedWhereItIsVisible) {
  for (const float bad :
       {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (int64_t at = 0; at < 37; ++at) {
      std::vector<float> scores(37, 1.0f);
      scores[static_cast<size_t>(at)] = bad;
      EXPECT_FALSE(Row<float>(scores).Fold({0, 37})) << bad << " at " << at;
      Row<float> behind(scores);
      EXPECT_TRUE(behind.Fold({at + 1, 37}));
      EXPECT_EQ(behind.state.sum, static_cast<double>(36 - at));
    }
  }
}

TEST_P(OnlineSoftmaxTest, APreparedRowMayBeExcludedInPartOrWhole) {
  Row<float> part({-kInfinity, 3, -kInfinity});
  ASSERT_TRUE(part.Fold({0, 3}, true));
  EXPECT_EQ(part.memory[0], 0.0f);
  EXPECT_EQ(part.memory[1], 1.0f);
  EXPECT_EQ(part.state.sum, 1.0);
  Row<float> whole({-kInfinity, -kInfinity});
  ASSERT_TRUE(whole.Fold({0, 2}, true));
  EXPECT_EQ(whole.state.sum, 0.0);
  EXPECT_EQ(whole.output[0], 1.0f);
  EXPECT_FALSE(Row<float>({1, kInfinity}).Fold({0, 2}, true));
}

TEST_P(OnlineSoftmaxTest, NormalizeDividesAndReportsOverflow) {
  std::vector<float> sums(37, 3.0f);
  std::vector<float> output(37);
  EXPECT_TRUE(Normalize<float>(2.0f, 37, sums.data(), output.data()));
  EXPECT_EQ(output, std::vector<float>(37, 1.5f));
  for (size_t at = 0; at < sums.size(); ++at) {
    sums[at] = std::numeric_limits<float>::max();
    EXPECT_FALSE(Normalize<float>(0.5f, 37, sums.data(), output.data()));
    sums[at] = 3.0f;
  }
}

TEST(PrepareRowTest, SoftcapThenBiasThenMask) {
  std::vector<float> scores = {4, -4, 1};
  const std::vector<float> bias = {1, -kInfinity, 0};
  const std::vector<uint8_t> mask = {1, 1, 0};
  bool live = false;
  EXPECT_TRUE(PrepareRow<float>({2.0f, mask.data(), 1, bias.data(), 1}, 3,
                                scores.data(), live));
  EXPECT_TRUE(live);
  EXPECT_EQ(scores[0], 2 * std::tanh(2.0f) + 1);
  EXPECT_EQ(scores[1], -kInfinity);
  EXPECT_EQ(scores[2], -kInfinity);
}

TEST(PrepareRowTest, MaskAndBiasTogetherMayLeaveNothing) {
  std::vector<float> scores = {1, 2};
  const std::vector<float> bias = {-kInfinity, 0};
  const std::vector<uint8_t> mask = {1, 0};
  bool live = false;
  EXPECT_TRUE(PrepareRow<float>({0.0f, mask.data(), 1, bias.data(), 1}, 2,
                                scores.data(), live));
  EXPECT_FALSE(live);
}

}  // namespace
}  // namespace attention::core
