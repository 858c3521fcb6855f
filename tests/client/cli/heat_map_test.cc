#include "client/cpp/cli/heat_map.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/cpp/picture/unicode.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ColorModeTest, EnvironmentDecides) {
  const auto detect = DetectColorMode;
  EXPECT_EQ(detect(nullptr, "truecolor", "xterm", true), ColorMode::kTrueColor);
  EXPECT_EQ(detect(nullptr, "24bit", "xterm", true), ColorMode::kTrueColor);
  EXPECT_EQ(detect(nullptr, nullptr, "xterm-256color", true), ColorMode::k256);
  EXPECT_EQ(detect(nullptr, nullptr, "xterm", true), ColorMode::kPlain);
}

TEST(ColorModeTest, NoColorPipesAndDumbTerminalsArePlain) {
  const auto detect = DetectColorMode;
  EXPECT_EQ(detect("1", "truecolor", "xterm-256color", true),
            ColorMode::kPlain);
  EXPECT_EQ(detect(nullptr, "truecolor", "xterm-256color", false),
            ColorMode::kPlain);
  EXPECT_EQ(detect(nullptr, "truecolor", "dumb", true), ColorMode::kPlain);
  EXPECT_EQ(detect(nullptr, nullptr, nullptr, true), ColorMode::kPlain);
  // An empty NO_COLOR is not set.
  EXPECT_EQ(detect("", "truecolor", "xterm", true), ColorMode::kTrueColor);
}

TEST(HeatMapTest, PlainShadesReachFromNothingToTheLargest) {
  const std::vector<double> weights = {0, 0.25, 0.5, 0};
  EXPECT_EQ(HeatMap(weights, {"a", "long"}, {"left", "overlylong"},
                    ColorMode::kPlain),
            "      left    overly\u2026\n"
            "a             ++++++\n"
            "long  @@@@@@\n"
            "      0 | .:-=+*#%@| 0.50\n");
}

TEST(HeatMapTest, ColoursHoldTheWeight) {
  const std::vector<double> weights = {0, 0.5};
  const std::string picture =
      HeatMap(weights, {"a"}, {"b", "c"}, ColorMode::kTrueColor);
  // The two ends of the scale, the text white on dark and black on light.
  EXPECT_THAT(picture, HasSubstr("\x1b[48;2;68;1;84;38;5;231m  0.00"));
  EXPECT_THAT(picture, HasSubstr("\x1b[48;2;253;231;37;38;5;16m  0.50"));
  EXPECT_THAT(HeatMap(weights, {"a"}, {"b", "c"}, ColorMode::k256),
              HasSubstr("\x1b[48;5;"));
}

AttentionPicture PictureOf(int64_t panels, int64_t length) {
  AttentionPicture picture;
  picture.title = "title";
  for (int64_t i = 0; i < length; ++i) {
    picture.query_labels.push_back(absl::StrCat("token", i));
  }
  picture.key_labels = picture.query_labels;
  for (int64_t i = 0; i < panels; ++i) {
    picture.panels.push_back(
        {absl::StrCat("head ", i), std::vector<double>(length * length, 0.25)});
  }
  return picture;
}

// `text` without what colours it.
std::string Bare(const std::string& text) {
  std::string bare;
  for (size_t at = 0; at < text.size();) {
    const size_t escape = std::min(text.find('\x1b', at), text.size());
    bare += text.substr(at, escape - at);
    at = escape < text.size() ? text.find('m', escape) + 1 : escape;
  }
  return bare;
}

TEST(TerminalPictureTest, FitsEveryTerminalInEveryMode) {
  for (const ColorMode mode :
       {ColorMode::kPlain, ColorMode::k256, ColorMode::kTrueColor}) {
    for (const int columns : {40, 80, 200}) {
      for (const int64_t panels : {1, 4, 12}) {
        for (const int64_t length : {1, 6, 64, 512}) {
          const std::string text =
              TerminalPicture(PictureOf(panels, length), mode, columns);
          for (const absl::string_view line :
               absl::StrSplit(Bare(text), '\n')) {
            EXPECT_LE(TerminalColumns(line), columns)
                << panels << " of " << length << ": " << line;
          }
        }
      }
    }
  }
}

TEST(TerminalPictureTest, ALoneMaximumIsSeenHoweverNarrowTheTerminal) {
  AttentionPicture picture = PictureOf(1, 512);
  picture.panels[0].elements.assign(size_t{512} * 512, 0);
  picture.panels[0].elements[size_t{100} * 512 + 300] = 1;
  const std::string text = TerminalPicture(picture, ColorMode::kPlain, 80);
  EXPECT_THAT(text, HasSubstr("largest of"));
  // Once in the matrix, once in the scale.
  EXPECT_EQ(std::count(text.begin(), text.end(), '@'), 2);
}

TEST(TerminalPictureTest, AllHeadsShareTheScale) {
  AttentionPicture picture = PictureOf(2, 1);
  picture.panels[0].elements = {1};
  picture.panels[1].elements = {0.5};
  picture.key_labels = {"k"};
  const std::string shared = TerminalPicture(picture, ColorMode::kPlain, 80);
  EXPECT_THAT(shared, HasSubstr("@@@@@@"));
  EXPECT_THAT(shared, HasSubstr("++++++"));
  picture.is_scale_shared = false;
  EXPECT_THAT(TerminalPicture(picture, ColorMode::kPlain, 80),
              Not(HasSubstr("++++++")));
}

TEST(TerminalPictureTest, ExcludedIsNotWeightZero) {
  AttentionPicture picture = PictureOf(1, 1);
  picture.key_labels = {"a", "b", "c"};
  picture.panels[0].elements = {0, 1, std::numeric_limits<double>::quiet_NaN()};
  const std::string text = TerminalPicture(picture, ColorMode::kPlain, 80);
  EXPECT_THAT(text, HasSubstr("token0          @@@@@@  //////"));
  EXPECT_THAT(text, HasSubstr("// excluded"));
  EXPECT_THAT(TerminalPicture(PictureOf(1, 1), ColorMode::kPlain, 80),
              Not(HasSubstr("excluded")));
}

TEST(TerminalPictureTest, SmallPanelsAreSideBySide) {
  EXPECT_THAT(TerminalPicture(PictureOf(12, 6), ColorMode::kPlain, 80),
              HasSubstr("head 0               head 1               head 2\n"));
}

TEST(HeatMapTest, DeadRowsAreShown) {
  const std::vector<double> weights = {0, 0};
  EXPECT_THAT(HeatMap(weights, {"a"}, {"b", "c"}, ColorMode::kPlain),
              Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace attention::client
