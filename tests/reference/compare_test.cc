#include "tests/reference/compare.h"

#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::reference {
namespace {

using ::testing::HasSubstr;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor<double> Row(std::vector<double> elements) {
  const auto count = static_cast<int64_t>(elements.size());
  return {{1, 1, 1, count}, std::move(elements)};
}

Tensor<Bounded> BoundedRow(std::vector<Bounded> elements) {
  const auto count = static_cast<int64_t>(elements.size());
  return {{1, 1, 1, count}, std::move(elements)};
}

TEST(Compare, ElementAtItsBoundPasses) {
  const Comparison comparison =
      Compare("x", Row({1.5, -2}), BoundedRow({{1, 0.5L}, {-2, 0}}));
  EXPECT_TRUE(comparison.ok) << comparison.message;
  EXPECT_EQ(comparison.elements, 2);
  EXPECT_EQ(comparison.worst_ratio, 1);
  EXPECT_EQ(comparison.worst_error, 0.5);
  EXPECT_EQ(comparison.bound_at_worst_error, 0.5);
}

TEST(Compare, OneElementBeyondItsBoundFails) {
  const double beyond = std::nextafter(1.5, 2.0);
  const Comparison comparison =
      Compare("x", Row({0, 0, beyond, 0}),
              BoundedRow({{0, 1}, {0, 1}, {1, 0.5L}, {0, 1}}));
  EXPECT_FALSE(comparison.ok);
  EXPECT_THAT(comparison.message, HasSubstr("x[0, 0, 0, 2] is 1.5"));
}

TEST(Compare, NanFailsOnEitherSideAndInTheBound) {
  EXPECT_FALSE(Compare("x", Row({kNan}), BoundedRow({{0, 1}})).ok);
  EXPECT_FALSE(Compare("x", Row({0}), BoundedRow({{kNan, 1}})).ok);
  EXPECT_FALSE(Compare("x", Row({0}), BoundedRow({{0, kNan}})).ok);
  EXPECT_FALSE(Compare("x", Row({kNan}), BoundedRow({{0, kInfinity}})).ok);
  EXPECT_FALSE(Compare("x", Row({kNan}), BoundedRow({{-kInfinity, 0}})).ok);
}

TEST(Compare, InfinityMustHaveTheSameSign) {
  EXPECT_TRUE(
      Compare("x", Row({-kInfinity}), BoundedRow({{-kInfinity, 0}})).ok);
  EXPECT_FALSE(
      Compare("x", Row({kInfinity}), BoundedRow({{-kInfinity, 0}})).ok);
  const double lowest = std::numeric_limits<double>::lowest();
  EXPECT_FALSE(Compare("x", Row({lowest}), BoundedRow({{-kInfinity, 0}})).ok);
  EXPECT_FALSE(Compare("x", Row({-kInfinity}), BoundedRow({{lowest, 1}})).ok);
}

TEST(Compare, SignOfANumberMatters) {
  EXPECT_FALSE(Compare("x", Row({-1}), BoundedRow({{1, 0.5L}})).ok);
}

TEST(Compare, ShapeMattersEvenWithEqualCounts) {
  const Tensor<double> actual = {{1, 1, 2, 3}, std::vector<double>(6)};
  const Tensor<Bounded> expected = {{1, 1, 3, 2}, std::vector<Bounded>(6)};
  EXPECT_FALSE(Compare("x", actual, expected).ok);
  const Tensor<double> empty = {{1, 1, 0, 3}, {}};
  const Tensor<Bounded> wider = {{1, 1, 0, 4}, {}};
  EXPECT_FALSE(Compare("x", empty, wider).ok);
  const Tensor<double> too_few = {{1, 1, 2, 3}, std::vector<double>(5)};
  EXPECT_FALSE(Compare("x", too_few, {{1, 1, 2, 3}, expected.elements}).ok);
}

TEST(Compare, MergeKeepsTheFirstMessageAndTheWorst) {
  Comparison all = Compare("first", Row({0.25}), BoundedRow({{0, 1}}));
  all.Merge(Compare("second", Row({3}), BoundedRow({{0, 1}})));
  all.Merge(Compare("third", Row({9}), BoundedRow({{0, 1}})));
  all.Merge(Compare("fourth", Row({0.5}), BoundedRow({{0, 4}})));
  EXPECT_FALSE(all.ok);
  EXPECT_THAT(all.message, HasSubstr("second"));
  EXPECT_EQ(all.elements, 4);
  EXPECT_EQ(all.failed_elements, 2);
  EXPECT_EQ(all.worst_ratio, 9);
  EXPECT_EQ(all.worst_error, 9);
  EXPECT_EQ(all.bound_at_worst_error, 1);
}

TEST(CompareBits, TellsZeroFromMinusZeroAndOneUnitInTheLastPlace) {
  EXPECT_TRUE(CompareBits("x", Row({1, -0.0}), Row({1, -0.0})).ok);
  EXPECT_FALSE(CompareBits("x", Row({0.0}), Row({-0.0})).ok);
  EXPECT_FALSE(CompareBits("x", Row({std::nextafter(1.0, 2.0)}), Row({1})).ok);
  EXPECT_FALSE(CompareBits("x", Row({1, 2}), Row({1})).ok);
}

// Three keys, the middle one excluded; weights 0.25 and 0.75, each within 0.01.
Answer TwoAttendedKeys() {
  Answer answer;
  answer.attention_weights =
      BoundedRow({{0.25L, 0.01L}, {0, 0}, {0.75L, 0.01L}});
  answer.attended = {{1, 1, 1, 3}, {1, 0, 1}};
  return answer;
}

TEST(CompareTopK, RightAnswerPasses) {
  const Comparison comparison =
      CompareTopK(Row({0.755, 0.25, 0}), Row({2, 0, -1}), TwoAttendedKeys());
  EXPECT_TRUE(comparison.ok) << comparison.message;
  EXPECT_TRUE(CompareTopK(Row({0.75}), Row({2}), TwoAttendedKeys()).ok);
}

TEST(CompareTopK, EachMistakeFails) {
  const Answer expected = TwoAttendedKeys();
  EXPECT_FALSE(CompareTopK(Row({0.25}), Row({0}), expected).ok)
      << "not the largest";
  EXPECT_FALSE(CompareTopK(Row({0.25, 0.75}), Row({0, 2}), expected).ok)
      << "ascending";
  EXPECT_FALSE(CompareTopK(Row({0.75}), Row({0}), expected).ok)
      << "index of another key";
  EXPECT_FALSE(CompareTopK(Row({0.75, 0.75}), Row({2, 2}), expected).ok)
      << "twice the same key";
  EXPECT_FALSE(CompareTopK(Row({0.75, 0}), Row({2, 1}), expected).ok)
      << "excluded key";
  EXPECT_FALSE(CompareTopK(Row({0.75, 0.25, 0}), Row({2, 0, 1}), expected).ok)
      << "index where none is left";
  EXPECT_FALSE(
      CompareTopK(Row({0.75, 0.25, 0.1}), Row({2, 0, -1}), expected).ok)
      << "weight where none is left";
  EXPECT_FALSE(CompareTopK(Row({0.75}), Row({3}), expected).ok)
      << "index out of range";
  EXPECT_FALSE(CompareTopK(Row({kNan}), Row({2}), expected).ok) << "NaN";
  EXPECT_FALSE(CompareTopK(Row({0.75, 0.25}), Row({2}), expected).ok)
      << "shape";
}

TEST(CompareTopK, TiesMustComeInOrderOfIndex) {
  Answer expected = TwoAttendedKeys();
  expected.attention_weights = BoundedRow({{0.5L, 0}, {0, 0}, {0.5L, 0}});
  EXPECT_TRUE(CompareTopK(Row({0.5, 0.5}), Row({0, 2}), expected).ok);
  EXPECT_FALSE(CompareTopK(Row({0.5, 0.5}), Row({2, 0}), expected).ok);
}

}  // namespace
}  // namespace attention::reference
