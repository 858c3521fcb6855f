// The demo's judgement of the chapter's numbers.
#include "client/cpp/cli/chapter.h"

#include <limits>
#include <set>
#include <string>
#include <vector>

#include "attention/tensor.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

v1::ComputeAttentionResponse ResponseOf(const std::vector<double>& output,
                                        const std::vector<int64_t>& shape) {
  v1::ComputeAttentionResponse response;
  *response.mutable_output() = MakeTensor(output, shape);
  return response;
}

TEST(ChapterTest, EmbeddedChapterIsComplete) {
  const auto chapter = ParseChapter(ChapterJson());
  ASSERT_TRUE(chapter.ok()) << chapter.status();
  EXPECT_EQ(chapter->digits, 4);
  std::vector<std::string> ids;
  for (const ChapterCase& example : chapter->cases) {
    ids.push_back(example.id);
    EXPECT_FALSE(example.expect.empty()) << example.id;
  }
  EXPECT_THAT(ids, ElementsAre("without-weights", "trainable-scores",
                               "trainable-in-out", "trainable-out-in", "causal",
                               "causal-attention", "multi-head",
                               "cross-attention", "dropout"));
}

TEST(ChapterTest, MissingFieldNamesTheCase) {
  const auto chapter =
      ParseChapter(R"({"title": "", "digits": 4, "cases": [{"id": "first"}]})");
  EXPECT_THAT(std::string(chapter.status().message()), HasSubstr("case 1: "));
}

TEST(ChapterTest, BadRequestNamesTheCase) {
  const auto chapter = ParseChapter(
      R"({"title": "", "digits": 4, "cases": [
          {"id": "first", "title": "", "explanation": "", "query_tokens": [],
           "key_tokens": [], "request": {"nonsense": 1}, "expect": []}]})");
  EXPECT_THAT(std::string(chapter.status().message()),
              HasSubstr("case first: "));
}

TEST(CompareTest, RoundedNumbersAgree) {
  const Expectation expectation = {"", "output", {1}, {{2}, {0.1385, -0.2379}}};
  const auto comparison = Compare(
      ResponseOf({9, 9, 0.13854999, -0.23785001}, {2, 2}), expectation, 4);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  EXPECT_THAT(comparison->differences, IsEmpty());
  EXPECT_THAT(comparison->found.elements, ElementsAre(0.13854999, -0.23785001));
}

TEST(CompareTest, NumberThatRoundsElsewhereIsOff) {
  const Expectation expectation = {"", "output", {}, {{1, 2}, {0.1385, 0}}};
  const auto comparison =
      Compare(ResponseOf({0.13856, 0}, {1, 2}), expectation, 4);
  ASSERT_TRUE(comparison.ok()) << comparison.status();
  ASSERT_EQ(comparison->differences.size(), 1u);
  EXPECT_EQ(comparison->differences[0].where, "output[0][0]");
  EXPECT_EQ(comparison->differences[0].found, 0.13856);
  EXPECT_EQ(comparison->differences[0].expected, 0.1385);
}

TEST(CompareTest, SignIsCompared) {
  const Expectation expectation = {"", "output", {0}, {{1}, {0.0739}}};
  EXPECT_EQ(Compare(ResponseOf({-0.0739}, {1, 1}), expectation, 4)
                ->differences.size(),
            1u);
}

TEST(CompareTest, MinusInfinityIsOff) {
  const Expectation expectation = {"", "output", {}, {{1}, {0.5}}};
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(
      Compare(ResponseOf({-infinity}, {1}), expectation, 4)->differences.size(),
      1u);
}

TEST(CompareTest, NanIsAnError) {
  const Expectation expectation = {"", "output", {}, {{1}, {0.5}}};
  const double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(Compare(ResponseOf({nan}, {1}), expectation, 4).ok());
}

TEST(CompareTest, OtherShapeIsAnError) {
  const Expectation expectation = {"", "output", {0}, {{2}, {1, 2}}};
  EXPECT_TRUE(Compare(ResponseOf({1, 2}, {1, 2}), expectation, 4).ok());
  EXPECT_FALSE(Compare(ResponseOf({1, 2}, {2}), expectation, 4).ok());
  EXPECT_FALSE(Compare(ResponseOf({1, 2, 3}, {1, 3}), expectation, 4).ok());
  EXPECT_FALSE(Compare(ResponseOf({1, 2}, {1, 1, 2}), expectation, 4).ok());
  EXPECT_FALSE(Compare(ResponseOf({}, {0, 2}), expectation, 4).ok());
}

TEST(CompareTest, MissingTensorIsAnError) {
  const Expectation expectation = {"", "attention_matrix", {}, {{1}, {1}}};
  const auto comparison = Compare(ResponseOf({1}, {1}), expectation, 4);
  EXPECT_THAT(std::string(comparison.status().message()),
              HasSubstr("attention_matrix"));
}

}  // namespace
}  // namespace attention::client
