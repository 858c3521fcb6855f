// The reference is judged here by what needs no reference: published numbers,
// closed forms, and plain float arithmetic that must stay within its bounds.
#include "tests/reference/reference_attention.h"

#include <cmath>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace attention::reference {
namespace {

using Words4 = std::array<uint32_t, 4>;

// Known-answer vectors of philox4x32 with 10 rounds, Random123's kat_vectors.
TEST(Philox, AgreesWithThePublishedVectors) {
  EXPECT_EQ(Philox({0, 0, 0, 0}, {0, 0}),
            (Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Philox({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                   {0xa4093822, 0x299f31d0}),
            (Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Dropped, WrapsTheSeedAndFollowsTheItem) {
  const Dropout last = {0.5, std::numeric_limits<uint64_t>::max()};
  const Dropout first = {0.5, 0};
  for (int64_t key = 0; key < 64; ++key) {
    EXPECT_EQ(Dropped(last, 1, 2, 3, key), Dropped(first, 0, 2, 3, key));
  }
}

TEST(RoundToFormat, Float32IsTheProcessorsOwnRounding) {
  std::mt19937_64 bits(1);
  for (int i = 0; i < 100000; ++i) {
    const auto significand = static_cast<double>(bits() >> 11);
    const int exponent = static_cast<int>(bits() % 290) - 205;
    const double value = std::ldexp(significand, exponent - 52);
    EXPECT_EQ(RoundToFormat(value, Float32Format()),
              static_cast<long double>(static_cast<float>(value)))
        << value;
  }
}

// IEEE 754 binary16: 11 bits, exponents -14 to 15.
TEST(RoundToFormat, Float16AtTheEdgesOfItsRange) {
  const Format format = Float16Format();
  EXPECT_EQ(format.largest, 65504);
  EXPECT_EQ(RoundToFormat(65519.99L, format), 65504);
  EXPECT_TRUE(std::isinf(RoundToFormat(65520, format)));
  EXPECT_EQ(RoundToFormat(-65504, format), -65504);
  const long double smallest = std::ldexp(1.0L, -24);
  EXPECT_EQ(RoundToFormat(smallest, format), smallest);
  EXPECT_EQ(RoundToFormat(smallest / 2, format), 0) << "a tie, to even";
  EXPECT_EQ(RoundToFormat(smallest * 1.5L, format), 2 * smallest) << "a tie";
  EXPECT_EQ(RoundToFormat(smallest * 0.50001L, format), smallest);
  EXPECT_EQ(RoundToFormat(2049, format), 2048) << "a tie, to even";
  EXPECT_EQ(RoundToFormat(2051, format), 2052) << "a tie, to even";
}

TEST(RoundToFormat, Bfloat16KeepsEightBits) {
  const Format format = Bfloat16Format();
  EXPECT_EQ(RoundToFormat(257, format), 256) << "a tie, to even";
  EXPECT_EQ(RoundToFormat(257.01L, format), 258);
  EXPECT_EQ(RoundToFormat(std::ldexp(1.0L, -133), format),
            std::ldexp(1.0L, -133));
  EXPECT_EQ(RoundToFormat(std::ldexp(1.0L, -134), format), 0);
  EXPECT_TRUE(
      std::isinf(RoundToFormat(std::numeric_limits<float>::max(), format)));
}

TEST(RoundedToFormat, BoundHoldsAndIsReached) {
  std::mt19937_64 bits(2);
  for (const Format& format : {Float16Format(), Bfloat16Format()}) {
    long double worst = 0;
    for (int i = 0; i < 100000; ++i) {
      const int exponent = static_cast<int>(bits() % 32) - 20;
      const long double value =
          std::ldexp(static_cast<long double>(bits() >> 11), exponent - 53);
      const long double error = std::fabs(RoundToFormat(value, format) - value);
      const long double bound = RoundedToFormat(Exact(value), format).error;
      ASSERT_LE(error, bound) << value;
      worst = std::max(worst, error / bound);
    }
    EXPECT_GT(worst, 0.99L);
  }
}

// Dot products in float, forwards, backwards and in pairs: each stays within
// the bound, and a sum of few terms comes near it.
TEST(DotProduct, BoundHoldsInAnyOrder) {
  const Precision precision = Float32Precision();
  std::mt19937_64 bits(3);
  std::normal_distribution<float> normal;
  long double worst = 0;
  for (int i = 0; i < 20000; ++i) {
    const size_t count = 1 + bits() % 40;
    DotProduct dot;
    float forwards = 0;
    float pairs[2] = {0, 0};
    std::vector<float> products;
    for (size_t term = 0; term < count; ++term) {
      const float x = normal(bits);
      const float y = normal(bits);
      dot.Add(Exact(x), Exact(y));
      products.push_back(x * y);
      forwards += products.back();
      pairs[term % 2] += products.back();
    }
    float backwards = 0;
    for (size_t term = count; term-- > 0;) backwards += products[term];
    const Bounded expected = dot.Result(precision);
    for (const float sum : {forwards, backwards, pairs[0] + pairs[1]}) {
      const long double error = std::fabs(sum - expected.value);
      ASSERT_LE(error, expected.error);
      worst = std::max(worst, error / expected.error);
    }
  }
  EXPECT_GT(worst, 0.5L);
}

TEST(DotProduct, CarriesTheErrorsOfItsTerms) {
  DotProduct dot;
  dot.Add({3, 0.5L}, {-2, 0.25L});
  dot.Add(Exact(0), {7, 1});
  const Bounded result = dot.Result({0, 0, 1});
  EXPECT_EQ(result.value, -6);
  // (3 + 0.5)(2 + 0.25) - 3 * 2: the farthest a product can be off.
  EXPECT_EQ(result.error, 1.875L);
}

Input Rows(int64_t rows, int64_t columns, std::vector<double> elements) {
  return {{1, 1, rows, columns}, std::move(elements)};
}

// Six tokens, "Your journey starts with one step".
Problem ChapterProblem() {
  Problem problem;
  problem.query = Rows(6, 3,
                       {0.43, 0.15, 0.89, 0.55, 0.87, 0.66,  //
                        0.57, 0.85, 0.64, 0.22, 0.58, 0.33,  //
                        0.77, 0.25, 0.10, 0.05, 0.80, 0.55});
  problem.key = problem.query;
  problem.value = problem.query;
  return problem;
}

Projection MakeProjection(int64_t in, int64_t out, bool out_in,
                          std::vector<double> weight,
                          std::vector<double> bias = {}) {
  return {in, out, out_in, std::move(weight), std::move(bias)};
}

// What the chapter prints has four digits.
constexpr double kHalfAUnitOfTheFourthDigit = 0.5e-4;

void ExpectRow(const Tensor<Bounded>& tensor, int64_t head, int64_t row,
               const std::vector<double>& expected) {
  for (size_t column = 0; column < expected.size(); ++column) {
    EXPECT_NEAR(
        static_cast<double>(
            tensor.At(0, head, row, static_cast<int64_t>(column)).value),
        expected[column], kHalfAUnitOfTheFourthDigit)
        << "row " << row << " column " << column;
  }
}

TEST(ReferenceAttention, ReplaysTheChapterWithoutWeights) {
  Problem problem = ChapterProblem();
  problem.softmax_scale = 1;
  const Answer answer = Attention(problem, Float32Precision());
  ExpectRow(answer.attention_weights, 0, 1,
            {0.1385, 0.2379, 0.2333, 0.1240, 0.1082, 0.1581});
  ExpectRow(answer.output, 0, 0, {0.4421, 0.5931, 0.5790});
  ExpectRow(answer.output, 0, 1, {0.4419, 0.6515, 0.5683});
  ExpectRow(answer.output, 0, 5, {0.4177, 0.6503, 0.5645});
}

TEST(ReferenceAttention, ReplaysTheChapterWithTrainableWeights) {
  Problem problem = ChapterProblem();
  problem.weights =
      Weights{MakeProjection(3, 2, false,
                             {0.296111941, 0.516562283, 0.251670718,
                              0.688556790, 0.0739724636, 0.866521955}),
              MakeProjection(3, 2, false,
                             {0.136579871, 0.102479041, 0.184056461,
                              0.726446748, 0.315253913, 0.687106669}),
              MakeProjection(3, 2, false,
                             {0.0756353140, 0.196638167, 0.316411972,
                              0.401740134, 0.118568301, 0.827395380}),
              std::nullopt};
  const Answer answer = Attention(problem, Float32Precision());
  ExpectRow(answer.attention_weights, 0, 1,
            {0.1500, 0.2264, 0.2199, 0.1311, 0.0906, 0.1820});
  ExpectRow(answer.output, 0, 0, {0.2996, 0.8053});
  ExpectRow(answer.output, 0, 1, {0.3061, 0.8210});
  ExpectRow(answer.output, 0, 5, {0.2990, 0.8040});
  problem.softmax_scale = 1;
  ExpectRow(Attention(problem, Float32Precision()).scores, 0, 1,
            {1.2705, 1.8524, 1.8111, 1.0795, 0.5577, 1.5440});
}

TEST(ReferenceAttention, ReplaysTheChaptersMultiHeadAttention) {
  Problem problem = ChapterProblem();
  problem.num_heads = 2;
  problem.num_kv_heads = 2;
  problem.causal = true;
  problem.weights = Weights{
      MakeProjection(3, 2, true,
                     {-0.235429645, 0.0191244762, -0.286745936, 0.217726618,
                      -0.491934210, 0.423223078}),
      MakeProjection(3, 2, true,
                     {-0.419641405, -0.459017664, -0.364820182, 0.261478186,
                      -0.213326395, 0.216052175}),
      MakeProjection(3, 2, true,
                     {-0.490014136, -0.350292057, -0.211989194, -0.113460720,
                      -0.440439373, 0.378043622}),
      MakeProjection(2, 2, true,
                     {-0.166757792, 0.226972580, 0.500025988, 0.131738231},
                     {0.193358868, 0.682540953})};
  const Answer answer = Attention(problem, Float32Precision());
  const std::vector<std::vector<double>> expected = {
      {0.3190, 0.4858}, {0.2943, 0.3897}, {0.2856, 0.3593},
      {0.2693, 0.3873}, {0.2639, 0.3928}, {0.2575, 0.4028}};
  for (size_t row = 0; row < expected.size(); ++row) {
    ExpectRow(answer.output, 0, static_cast<int64_t>(row), expected[row]);
  }
}

TEST(ReferenceAttention, DeadRowIsExactlyZero) {
  Problem problem = ChapterProblem();
  problem.key_lengths = {0};
  const Answer answer = Attention(problem, Float64Precision());
  for (const Bounded& element : answer.output.elements) {
    EXPECT_EQ(element.value, 0);
    EXPECT_EQ(element.error, 0);
  }
  for (const Bounded& element : answer.lse.elements) {
    EXPECT_EQ(element.value, -std::numeric_limits<long double>::infinity());
  }
}

// At s near the largest float, u s is far above every difference between the
// scores: nothing can be said about the weights, and nothing is.
TEST(ReferenceAttention, BoundOfHugeBiasesIsTheWholeInterval) {
  Problem problem = ChapterProblem();
  problem.bias =
      MakeTensor<double>({1, 1, 1, 1}, std::numeric_limits<float>::lowest());
  const Answer answer = Attention(problem, Float32Precision());
  for (const Bounded& weight : answer.attention_weights.elements) {
    EXPECT_GE(weight.value - weight.error, -1);
    EXPECT_LE(weight.value + weight.error, 2);
    EXPECT_GT(weight.error, 0.5L);
  }
}

// Attention over one key in plain float, no matter how: a weight of 1.
TEST(ReferenceAttention, BoundOfOneKeyIsAFewRoundoffs) {
  Problem problem;
  problem.query = Rows(1, 1, {3});
  problem.key = Rows(1, 1, {5});
  problem.value = Rows(1, 1, {7});
  const Precision precision = Float32Precision();
  const Answer answer = Attention(problem, precision);
  EXPECT_EQ(answer.output.elements[0].value, 7);
  EXPECT_LE(answer.output.elements[0].error, 4 * 7 * precision.unit_roundoff);
}

}  // namespace
}  // namespace attention::reference
