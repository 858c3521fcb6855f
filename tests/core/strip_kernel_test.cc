#include "server/core/kernel/strip_kernel.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "hwy/aligned_allocator.h"

namespace attention::core {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <typename T>
hwy::AlignedFreeUniquePtr<T[]> Aligned(int64_t count, T fill = T{0}) {
  auto memory = hwy::AllocateAligned<T>(static_cast<size_t>(count));
  std::fill_n(memory.get(), count, fill);
  return memory;
}

// A strip with head_dim 1 and query 1, so that a score is its key, and value
// rows of two elements: 1 and the number of the key.
template <typename T>
struct TestStrip {
  TestStrip() {
    std::fill_n(max.get(), rows, -std::numeric_limits<T>::infinity());
  }

  // Folds a block of these scores, the same for every row.
  bool Fold(const std::vector<T>& keys,
            const std::function<void(KeyBlock<T>&)>& change = {}) {
    const auto count = static_cast<int64_t>(keys.size());
    std::vector<T> values;
    for (int64_t j = 0; j < count; ++j) {
      values.push_back(1);
      values.push_back(static_cast<T>(j));
    }
    scores = Aligned<T>(count * rows);
    const auto visible_begin = Aligned<T>(rows);
    const auto visible_end = Aligned<T>(rows, static_cast<T>(count));
    KeyBlock<T> block;
    block.key = keys.data();
    block.key_stride = 1;
    block.value = values.data();
    block.value_stride = 2;
    block.count = count;
    block.head_dim = 1;
    block.value_dim = 2;
    block.visible_begin = visible_begin.get();
    block.visible_end = visible_end.get();
    block.scores = scores.get();
    if (change) change(block);
    return FoldBlock(block, strip());
  }

  Strip<T> strip() const {
    return {query.get(), output.get(), max.get(), sum.get()};
  }
  // After Fold, without the scale they are kept in.
  T Weight(int64_t key, int64_t row) const {
    return scores[key * rows + row] / kWeightScale<T>;
  }
  double Sum(int64_t row) const { return sum[row] / kWeightScale<T>; }
  T Output(int64_t column, int64_t row) const {
    return output[column * rows + row] / kWeightScale<T>;
  }

  const int64_t rows = StripRows<T>();
  hwy::AlignedFreeUniquePtr<T[]> query = Aligned<T>(rows, T{1});
  hwy::AlignedFreeUniquePtr<T[]> output =
      Aligned<T>(2 * rows, std::numeric_limits<T>::quiet_NaN());
  hwy::AlignedFreeUniquePtr<T[]> max = Aligned<T>(rows);
  hwy::AlignedFreeUniquePtr<double[]> sum = Aligned<double>(rows);
  hwy::AlignedFreeUniquePtr<T[]> scores;
};

// Runs the body once for each instruction set of this machine.
class StripKernelTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { ASSERT_TRUE(UseStripTarget(GetParam())); }
  void TearDown() override { ASSERT_TRUE(UseStripTarget(before_)); }

 private:
  const std::string before_ = StripTarget();
};

INSTANTIATE_TEST_SUITE_P(Targets, StripKernelTest,
                         testing::ValuesIn(StripTargets()),
                         [](const auto& target) { return target.param; });

TEST(StripTargetTest, AnyThatTheProcessorRunsCanBeUsed) {
  const std::vector<std::string> targets = StripTargets();
  ASSERT_FALSE(targets.empty());
  const std::string before = StripTarget();
  for (const std::string& target : targets) {
    EXPECT_TRUE(UseStripTarget(target));
    EXPECT_EQ(StripTarget(), target);
  }
  EXPECT_EQ(StripTargets(), targets) << "whatever is in use";
  EXPECT_FALSE(UseStripTarget("MMX"));
  EXPECT_EQ(StripTarget(), targets.back());
  EXPECT_TRUE(UseStripTarget(before));
}

TEST_P(StripKernelTest, PackingTransposesAnyNumberOfColumns) {
  const int64_t width = StripRows<float>();
  for (int64_t columns = 1; columns <= 9; ++columns) {
    std::vector<std::vector<float>> rows;
    for (int64_t r = 0; r < width; ++r) {
      rows.emplace_back();
      for (int64_t c = 0; c < columns; ++c) {
        rows.back().push_back(static_cast<float>(r * 100 + c));
      }
    }
    std::vector<const float*> pointers;
    pointers.reserve(rows.size());
    for (const auto& row : rows) pointers.push_back(row.data());
    const auto strip = Aligned<float>(columns * width);
    PackStrip(pointers.data(), columns, strip.get());
    for (int64_t r = 0; r < width; ++r) {
      for (int64_t c = 0; c < columns; ++c) {
        ASSERT_EQ(strip[c * width + r], static_cast<float>(r * 100 + c));
      }
    }
  }
}

TEST_P(StripKernelTest, FinishingDividesAndTransposesBack) {
  TestStrip<double> strip;
  for (int64_t columns = 1; columns <= 5; ++columns) {
    for (int64_t count = 1; count <= strip.rows; ++count) {
      const auto output = Aligned<double>(columns * strip.rows);
      for (int64_t r = 0; r < strip.rows; ++r) {
        strip.max[r] = 0;
        strip.sum[r] = 4;
        for (int64_t c = 0; c < columns; ++c) {
          output[c * strip.rows + r] = static_cast<double>(r * 10 + c);
        }
      }
      std::vector<double> rows(static_cast<size_t>(count * columns), -1);
      std::vector<double*> pointers;
      pointers.reserve(static_cast<size_t>(count));
      for (int64_t r = 0; r < count; ++r) {
        pointers.push_back(rows.data() + r * columns);
      }
      Strip<double> state = strip.strip();
      state.output = output.get();
      ASSERT_TRUE(FinishStrip(state, columns, count, pointers.data()));
      for (int64_t r = 0; r < count; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
          ASSERT_EQ(pointers[static_cast<size_t>(r)][c],
                    static_cast<double>(r * 10 + c) / 4);
        }
      }
    }
  }
}

// key * query / 2 by plain loops, [count, width]; rows of the key are two more
// than head_dim apart.
std::vector<float> HalfProducts(const std::vector<float>& key, int64_t count,
                                int64_t head_dim, const float* query,
                                int64_t width) {
  std::vector<float> products(static_cast<size_t>(count * width));
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t r = 0; r < width; ++r) {
      float sum = 0;
      for (int64_t c = 0; c < head_dim; ++c) {
        sum += key[static_cast<size_t>(j * (head_dim + 2) + c)] *
               query[c * width + r];
      }
      products[static_cast<size_t>(j * width + r)] = sum * 0.5f;
    }
  }
  return products;
}

TEST_P(StripKernelTest, ProductsHaveAnyNumberOfRowsAndTerms) {
  const int64_t width = StripRows<float>();
  for (int64_t count = 1; count <= 31; ++count) {
    for (const int64_t head_dim : {1, 3, 8}) {
      std::vector<float> key(static_cast<size_t>(count * (head_dim + 2)));
      for (size_t i = 0; i < key.size(); ++i) {
        key[i] = static_cast<float>(i % 7) - 3;
      }
      TestStrip<float> strip;
      const auto query = Aligned<float>(head_dim * width);
      for (int64_t i = 0; i < head_dim * width; ++i) {
        query[i] = static_cast<float>(i % 5) / 4;
      }
      strip.query = Aligned<float>(head_dim * width);
      std::copy_n(query.get(), head_dim * width, strip.query.get());
      const std::vector<float> expected =
          HalfProducts(key, count, head_dim, query.get(), width);
      float largest = -kInfinity;
      for (int64_t j = 0; j < count; ++j) {
        largest = std::max(largest, expected[static_cast<size_t>(j * width)]);
      }
      // Sums of eighths: exact.
      ASSERT_TRUE(strip.Fold(std::vector<float>(static_cast<size_t>(count)),
                             [&](KeyBlock<float>& block) {
                               block.key = key.data();
                               block.key_stride = head_dim + 2;
                               block.head_dim = head_dim;
                               block.scale = 0.5f;
                             }));
      EXPECT_EQ(strip.max[0], largest);
      for (int64_t j = 0; j < count; ++j) {
        ASSERT_NEAR(
            strip.Weight(j, 0),
            std::exp(expected[static_cast<size_t>(j * width)] - largest),
            0x1p-23)
            << j << " of " << count;
      }
    }
  }
}

TEST_P(StripKernelTest, ProductsReadRowsAndColumns) {
  const std::vector<double> matrix = {1, 10, 2, 20, 3, 30};  // 3 x 2
  const int64_t rows = StripRows<double>();
  const auto strip = Aligned<double>(3 * rows);
  const auto product = Aligned<double>(3 * rows, -1);
  strip[0] = 1;
  strip[rows] = 8;
  strip[2 * rows] = 64;
  MultiplyStrip<Read::kRows>(matrix.data(), 2, 3, 2, strip.get(), 0.5,
                             product.get());
  for (int64_t m = 0; m < 3; ++m) {
    EXPECT_EQ(product[m * rows], static_cast<double>(m + 1) * 81 / 2);
    EXPECT_EQ(product[m * rows + 1], 0);
  }
  MultiplyStrip<Read::kColumns>(matrix.data(), 2, 2, 3, strip.get(), 0.5,
                                product.get());
  EXPECT_EQ(product[0], (1 * 1 + 2 * 8 + 3 * 64) * 0.5);
  EXPECT_EQ(product[rows], (10 * 1 + 20 * 8 + 30 * 64) * 0.5);
  MultiplyStrip<Read::kColumns, double>(nullptr, 2, 2, 0, strip.get(), 0.5,
                                        product.get());
  EXPECT_EQ(product[0], 0);
}

TEST_P(StripKernelTest, ProductsAddToWhatIsThereForAnyNumberOfResults) {
  const int64_t rows = StripRows<double>();
  const auto strip = Aligned<double>(2 * rows);
  strip[0] = 1;
  strip[rows] = 100;
  for (int64_t results = 1; results <= 29; ++results) {
    std::vector<double> matrix;  // [results, 2], or [2, results]
    matrix.reserve(static_cast<size_t>(2 * results));
    for (int64_t i = 0; i < 2 * results; ++i) {
      matrix.push_back(static_cast<double>(i + 1));
    }
    const auto product = Aligned<double>(results * rows, 0.5);
    AddStripProduct(matrix.data(), 2, results, 2, strip.get(), product.get());
    for (int64_t m = 0; m < results; ++m) {
      const auto first = static_cast<double>(2 * m + 1);
      ASSERT_EQ(product[m * rows], 0.5 + first + 100 * (first + 1));
      ASSERT_EQ(product[m * rows + 1], 0.5);
    }
    std::vector<double> packed(matrix.size());
    PackColumns(matrix.data(), results, results, 2, packed.data());
    AddPackedProduct(packed.data(), results, 2, strip.get(), product.get());
    for (int64_t m = 0; m < results; ++m) {
      const auto first = static_cast<double>(2 * m + 1);
      const auto second = static_cast<double>(m + 1);
      ASSERT_EQ(product[m * rows],
                0.5 + first + 100 * (first + 1) + second +
                    100 * (second + static_cast<double>(results)));
    }
  }
}

TEST_P(StripKernelTest, ExpIsWithinOneUlp) {
  // 0 first, so that the maximum is 0 and each score its own exponent.
  std::vector<float> exponents = {0};
  float x = -1e-9f;
  while (x > -103.9f) {
    exponents.push_back(x);
    x *= 1.00002f;
  }
  TestStrip<float> strip;
  ASSERT_TRUE(strip.Fold(exponents));
  for (size_t i = 0; i < exponents.size(); ++i) {
    const double exact = std::exp(static_cast<double>(exponents[i]));
    const auto rounded = static_cast<float>(exact);
    const auto ulp =
        static_cast<double>(std::nextafter(rounded, kInfinity) - rounded);
    for (const int64_t r : {int64_t{0}, strip.rows - 1}) {
      ASSERT_LE(std::abs(strip.Weight(static_cast<int64_t>(i), r) - exact), ulp)
          << exponents[i];
    }
  }
}

TEST_P(StripKernelTest, WhatIsFarBelowTheMaximumIsZero) {
  TestStrip<float> strip;
  ASSERT_TRUE(
      strip.Fold({0, -104, -105, -1000, std::numeric_limits<float>::lowest()}));
  EXPECT_EQ(strip.Weight(0, 0), 1.0f);
  for (int64_t j = 1; j < 5; ++j) EXPECT_EQ(strip.Weight(j, 0), 0.0f);
  EXPECT_EQ(strip.Sum(0), 1.0);
}

TEST_P(StripKernelTest, NoWeightIsSubnormal) {
  TestStrip<float> strip;
  std::vector<float> keys = {0};
  float x = -80;
  while (x > -110) {
    keys.push_back(x);
    x -= 0.01f;
  }
  ASSERT_TRUE(strip.Fold(keys));
  for (int64_t j = 0; j < static_cast<int64_t>(keys.size()); ++j) {
    EXPECT_NE(std::fpclassify(strip.scores[j * strip.rows]), FP_SUBNORMAL)
        << keys[static_cast<size_t>(j)];
  }
}

TEST_P(StripKernelTest, EachRowCountsTheKeysItSees) {
  TestStrip<double> strip;
  const int64_t count = 40;
  const auto begin = Aligned<double>(strip.rows);
  const auto end = Aligned<double>(strip.rows);
  for (int64_t r = 0; r < strip.rows; ++r) {
    begin[r] = static_cast<double>(r % 7);
    end[r] = static_cast<double>(count - r % 5);
  }
  std::vector<double> keys;
  keys.reserve(static_cast<size_t>(count));
  for (int64_t j = 0; j < count; ++j) {
    keys.push_back(static_cast<double>(j) / 64);
  }
  keys[0] = keys[count - 1] = 1000;  // would drown the others
  ASSERT_TRUE(strip.Fold(keys, [&](KeyBlock<double>& block) {
    block.visible_begin = begin.get();
    block.visible_end = end.get();
  }));
  for (int64_t r = 0; r < strip.rows; ++r) {
    double largest = -1;
    double sum = 0;
    for (auto j = static_cast<size_t>(begin[r]);
         j < static_cast<size_t>(end[r]); ++j) {
      largest = std::max(largest, keys[j]);
    }
    for (int64_t j = 0; j < count; ++j) {
      const bool sees =
          begin[r] <= static_cast<double>(j) && static_cast<double>(j) < end[r];
      const double weight =
          sees ? std::exp(keys[static_cast<size_t>(j)] - largest) : 0.0;
      ASSERT_NEAR(strip.Weight(j, r), weight, 0x1p-51) << j << " of row " << r;
      sum += weight;
    }
    EXPECT_EQ(strip.max[r], largest);
    EXPECT_NEAR(strip.Sum(r), sum, 40 * 0x1p-52 * sum);
  }
}

TEST_P(StripKernelTest, ARowMaySeeNothing) {
  TestStrip<float> strip;
  const auto end = Aligned<float>(strip.rows, 2.0f);
  end[1] = 0;
  ASSERT_TRUE(strip.Fold(
      {1, 2}, [&](KeyBlock<float>& block) { block.visible_end = end.get(); }));
  EXPECT_EQ(strip.Sum(1), 0.0);
  EXPECT_EQ(strip.max[1], -kInfinity);
  EXPECT_EQ(strip.max[0], 2.0f);
  EXPECT_EQ(strip.Output(0, 1), 0.0f);
}

TEST_P(StripKernelTest, ALargerMaximumShrinksWhatCameBefore) {
  TestStrip<float> strip;
  ASSERT_TRUE(strip.Fold({1, 2}));
  const double before = strip.Sum(0);
  const float output = strip.Output(1, 0);
  ASSERT_TRUE(strip.Fold({5, -kInfinity},
                         [](KeyBlock<float>& block) { block.count = 1; }));
  const float shrink = std::exp(2.0f - 5.0f);
  EXPECT_EQ(strip.max[0], 5.0f);
  EXPECT_NEAR(strip.Sum(0), before * shrink + 1, 0x1p-23);
  // The second column of value is 0 for the first key of a block.
  EXPECT_NEAR(strip.Output(1, 0), output * shrink, 0x1p-23);
}

TEST_P(StripKernelTest, AScoreThatIsNotFiniteIsReportedWhereItIsSeen) {
  for (const float bad :
       {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
    for (int64_t at = 0; at < 37; ++at) {
      std::vector<float> keys(37, 1.0f);
      keys[static_cast<size_t>(at)] = bad;
      EXPECT_FALSE(TestStrip<float>().Fold(keys)) << bad << " at " << at;
      TestStrip<float> behind;
      const auto begin =
          Aligned<float>(behind.rows, static_cast<float>(at + 1));
      EXPECT_TRUE(behind.Fold(keys, [&](KeyBlock<float>& block) {
        block.visible_begin = begin.get();
      }));
      EXPECT_EQ(behind.Sum(0), static_cast<double>(36 - at));
    }
  }
}

TEST_P(StripKernelTest, SoftcapThenBiasAndExclusion) {
  TestStrip<float> strip;
  const auto added = Aligned<float>(3 * strip.rows);
  for (int64_t r = 0; r < strip.rows; ++r) {
    added[r] = 1;
    added[strip.rows + r] = -kInfinity;
    added[2 * strip.rows + r] = r == 1 ? -kInfinity : 0.0f;
  }
  // What is excluded may be anything.
  ASSERT_TRUE(strip.Fold({4, kInfinity, 1}, [&](KeyBlock<float>& block) {
    block.softcap = 2;
    block.added = added.get();
  }));
  const float first = 2 * std::tanh(2.0f) + 1;
  EXPECT_EQ(strip.max[0], first);
  EXPECT_EQ(strip.Weight(1, 0), 0.0f);
  EXPECT_NEAR(strip.Weight(2, 0), std::exp(2 * std::tanh(0.5f) - first),
              0x1p-24);
  EXPECT_EQ(strip.Weight(2, 1), 0.0f);
  EXPECT_EQ(strip.Sum(1), 1.0);
}

TEST_P(StripKernelTest, AllExcludedLeavesTheStripNew) {
  TestStrip<float> strip;
  const auto added = Aligned<float>(2 * strip.rows, -kInfinity);
  ASSERT_TRUE(strip.Fold(
      {1, 2}, [&](KeyBlock<float>& block) { block.added = added.get(); }));
  EXPECT_EQ(strip.Sum(0), 0.0);
  std::vector<float> row(2, 7.0f);
  std::vector<float*> rows(1, row.data());
  ASSERT_TRUE(FinishStrip(strip.strip(), 2, 1, rows.data()));
  EXPECT_EQ(row, std::vector<float>({0, 0}));
  ASSERT_TRUE(strip.Fold({3, 3}));
  EXPECT_EQ(strip.Sum(0), 2.0);
  EXPECT_EQ(strip.Output(0, 0), 2.0f);
}

TEST_P(StripKernelTest, DropoutScalesWeightsAfterTheirSum) {
  TestStrip<float> strip;
  const auto kept = Aligned<float>(2 * strip.rows, 2.0f);
  for (int64_t r = 0; r < strip.rows; ++r) kept[r] = 0;
  ASSERT_TRUE(strip.Fold(
      {1, 1}, [&](KeyBlock<float>& block) { block.kept = kept.get(); }));
  EXPECT_EQ(strip.Sum(0), 2.0);
  EXPECT_EQ(strip.Output(0, 0), 2.0f);  // 0 * 1 + 2 * 1
  EXPECT_EQ(strip.Output(1, 0), 2.0f);  // 0 * 0 + 2 * 1
}

TEST_P(StripKernelTest, AQuotientThatOverflowsIsReported) {
  for (int64_t at = 0; at < 2; ++at) {
    TestStrip<float> strip;
    std::fill_n(strip.max.get(), strip.rows, 0.0f);
    std::fill_n(strip.sum.get(), strip.rows, 0.5);
    std::fill_n(strip.output.get(), 2 * strip.rows, 3.0f);
    strip.output[at * strip.rows] = std::numeric_limits<float>::max();
    std::vector<float> row(2);
    std::vector<float*> rows(1, row.data());
    EXPECT_FALSE(FinishStrip(strip.strip(), 2, 1, rows.data()));
  }
}

TEST_P(StripKernelTest, ARowDoesNotDependOnItsLaneOrItsNeighbours) {
  TestStrip<float> strip;
  std::vector<float> keys;
  keys.reserve(100);
  for (int64_t j = 0; j < 100; ++j) {
    keys.push_back(std::sin(static_cast<float>(j)));
  }
  for (int64_t r = 0; r < strip.rows; ++r) {
    strip.query[r] = r % 3 == 0 ? 1.7f : static_cast<float>(r) * 3;
  }
  ASSERT_TRUE(strip.Fold(keys));
  for (int64_t r = 3; r < strip.rows; r += 3) {
    EXPECT_EQ(strip.Sum(r), strip.Sum(0));
    EXPECT_EQ(strip.Output(0, r), strip.Output(0, 0));
    EXPECT_EQ(strip.Output(1, r), strip.Output(1, 0));
  }
}

}  // namespace
}  // namespace attention::core
