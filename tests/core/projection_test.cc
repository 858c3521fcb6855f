// Projections around the edges of their panels and strips, where every number
// is a small integer and so every sum exact.
#include "server/core/layer/projection.h"

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::core {
namespace {

using ::testing::HasSubstr;

constexpr float kUntouched = -1234;

struct Shape {
  int64_t batch;
  int64_t rows;
  int64_t in;
  int64_t heads;
  int64_t dim;

  int64_t out() const { return heads * dim; }
};

struct Case {
  Case(const Shape& its_shape, Layout layout, bool with_bias)
      : shape(its_shape),
        input(Integers(shape.batch * shape.rows * shape.in, 7)),
        weight(Integers(shape.in * shape.out(), 5)),
        bias(Integers(shape.out(), 11)),
        output(static_cast<size_t>(shape.batch * shape.rows * shape.out()),
               kUntouched),
        projection{weight.data(), with_bias ? bias.data() : nullptr, shape.in,
                   shape.out(), layout} {}

  static std::vector<float> Integers(int64_t count, int64_t period) {
    std::vector<float> numbers;
    numbers.reserve(static_cast<size_t>(count));
    const int64_t middle = period / 2;
    for (int64_t i = 0; i < count; ++i) {
      numbers.push_back(static_cast<float>(i * i % period - middle));
    }
    return numbers;
  }

  ProjectionOf<float> Of(std::vector<int64_t> row_counts) {
    return {
        projection,
        Dense(output.data(), {shape.batch, shape.heads, shape.rows, shape.dim}),
        std::move(row_counts), "key projection"};
  }

  ConstTensor4<float> Input() const {
    return Dense<const float>(input.data(),
                              {shape.batch, 1, shape.rows, shape.in});
  }

  absl::Status Run(std::vector<int64_t> row_counts = {}) {
    return RunInline(
        {ProjectionStep<float>(Input(), {Of(std::move(row_counts))})});
  }

  float Expected(int64_t item, int64_t row, int64_t column) const {
    float sum =
        projection.bias != nullptr ? bias[static_cast<size_t>(column)] : 0;
    for (int64_t i = 0; i < shape.in; ++i) {
      const int64_t at = projection.layout == Layout::kInOut
                             ? i * shape.out() + column
                             : column * shape.in + i;
      sum +=
          input[static_cast<size_t>((item * shape.rows + row) * shape.in + i)] *
          weight[static_cast<size_t>(at)];
    }
    return sum;
  }

  float Output(int64_t item, int64_t row, int64_t column) const {
    const int64_t head = item * shape.heads + column / shape.dim;
    return output[static_cast<size_t>((head * shape.rows + row) * shape.dim +
                                      column % shape.dim)];
  }

  const Shape shape;
  std::vector<float> input;
  std::vector<float> weight;
  std::vector<float> bias;
  std::vector<float> output;
  Projection<float> projection;
};

void ExpectRight(const Case& projected, int64_t item, int64_t rows) {
  for (int64_t row = 0; row < projected.shape.rows; ++row) {
    for (int64_t column = 0; column < projected.shape.out(); ++column) {
      const float expected =
          row < rows ? projected.Expected(item, row, column) : kUntouched;
      ASSERT_EQ(projected.Output(item, row, column), expected)
          << "item " << item << " row " << row << " column " << column << " of "
          << projected.shape.rows << " x " << projected.shape.out();
    }
  }
}

TEST(ProjectionTest, IsRightAroundTheEdgesOfStripsAndPanels) {
  for (const int64_t rows :
       {1, 2, 32, 33, 64, 65, 128, 129, 527, 528, 529, 1057}) {
    for (const int64_t heads : {1, 3}) {
      for (const int64_t dim : {1, 127, 128, 129, 257}) {
        for (const Layout layout : {Layout::kInOut, Layout::kOutIn}) {
          Case projected({1, rows, 3, heads, dim}, layout, dim % 2 == 1);
          ASSERT_TRUE(projected.Run().ok());
          ASSERT_NO_FATAL_FAILURE(ExpectRight(projected, 0, rows));
        }
      }
    }
  }
}

// Strips are multiplied in parts of 128, 256 or 512 inputs, by their width.
TEST(ProjectionTest, IsRightAroundTheEdgesOfPartsOfItsDepth) {
  for (const int64_t in : {127, 128, 129, 256, 257, 512, 513}) {
    for (const int64_t rows : {2, 70, 130}) {
      for (const int64_t dim : {3, 85}) {
        for (const Layout layout : {Layout::kInOut, Layout::kOutIn}) {
          Case projected({1, rows, in, 2, dim}, layout, dim % 2 == 1);
          ASSERT_TRUE(projected.Run().ok());
          ASSERT_NO_FATAL_FAILURE(ExpectRight(projected, 0, rows));
        }
      }
    }
  }
}

TEST(ProjectionTest, RowsBeyondTheirCountAreNotTouched) {
  for (const int64_t heads : {1, 2}) {
    Case projected({3, 700, 2, heads, 5}, Layout::kInOut, true);
    ASSERT_TRUE(projected.Run({700, 0, 529}).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectRight(projected, 0, 700));
    ASSERT_NO_FATAL_FAILURE(ExpectRight(projected, 1, 0));
    ASSERT_NO_FATAL_FAILURE(ExpectRight(projected, 2, 529));

    Case in_strips({3, 100, 2, heads, 5}, Layout::kOutIn, true);
    ASSERT_TRUE(in_strips.Run({100, 0, 33}).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectRight(in_strips, 0, 100));
    ASSERT_NO_FATAL_FAILURE(ExpectRight(in_strips, 1, 0));
    ASSERT_NO_FATAL_FAILURE(ExpectRight(in_strips, 2, 33));
  }
}

TEST(ProjectionTest, ThoseOfOneInputAreEachWhatTheyAreAlone) {
  for (const int64_t rows : {1, 2, 100, 129, 600, 1057}) {
    Case wide({2, rows, 3, 5, 200}, Layout::kOutIn, true);
    Case one_head({2, rows, 3, 1, 70}, Layout::kOutIn, true);
    Case narrow({2, rows, 3, 4, 33}, Layout::kInOut, false);
    Case last({2, rows, 3, 2, 401}, Layout::kOutIn, false);
    const int64_t few = rows / 2;
    ASSERT_TRUE(RunInline({ProjectionStep<float>(
                              wide.Input(),
                              {wide.Of({}), one_head.Of({}),
                               narrow.Of({few, rows}), last.Of({0, few})})})
                    .ok());
    for (const int64_t item : {0, 1}) {
      ASSERT_NO_FATAL_FAILURE(ExpectRight(wide, item, rows));
      ASSERT_NO_FATAL_FAILURE(ExpectRight(one_head, item, rows));
      ASSERT_NO_FATAL_FAILURE(
          ExpectRight(narrow, item, item == 0 ? few : rows));
      ASSERT_NO_FATAL_FAILURE(ExpectRight(last, item, item == 0 ? 0 : few));
    }
  }
}

TEST(ProjectionTest, OverflowOfARowBeyondItsCountIsNone) {
  for (const int64_t rows : {98, 610}) {
    Case zeros({1, rows, 2, 2, 400}, Layout::kInOut, false);
    zeros.weight.assign(zeros.weight.size(), 0);
    zeros.input[static_cast<size_t>(2 * (rows - 1))] =
        std::numeric_limits<float>::max();
    Case short_of_it({1, rows, 2, 2, 400}, Layout::kInOut, false);
    short_of_it.weight.assign(short_of_it.weight.size(), 0);
    short_of_it.weight[399] = 3;
    const auto run = [&](int64_t count) {
      return RunInline({ProjectionStep<float>(
          zeros.Input(), {zeros.Of({}), short_of_it.Of({count})})});
    };
    EXPECT_TRUE(run(rows - 1).ok());
    EXPECT_THAT(std::string(run(rows).message()),
                HasSubstr(absl::StrCat("row ", rows - 1, ", column 399]")));
  }
}

TEST(ProjectionTest, OverflowIsNamedByItsPlaceInTheProduct) {
  for (const int64_t heads : {1, 2}) {
    // Each in its last panel or strip; 97 is alone in its strip or one of two.
    for (const auto& [rows, row] :
         {std::pair<int64_t, int64_t>{600, 577}, {98, 97}}) {
      Case projected({1, rows, 2, heads, 400}, Layout::kInOut, false);
      projected.input[static_cast<size_t>(2 * row)] =
          std::numeric_limits<float>::max();
      projected.weight[399] = 3;
      for (int64_t column = 0; column < 399; ++column) {
        projected.weight[static_cast<size_t>(column)] = 0;
      }
      const absl::Status status = projected.Run();
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(std::string(status.message()),
                  HasSubstr(absl::StrCat("key projection[batch 0, row ", row,
                                         ", column 399]")));
    }
  }
}

}  // namespace
}  // namespace attention::core
