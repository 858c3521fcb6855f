#include "client/cpp/cli/heat_map.h"

#include <string>
#include <vector>

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
            "      left    overlyl\n"
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

TEST(HeatMapTest, DeadRowsAreShown) {
  const std::vector<double> weights = {0, 0};
  EXPECT_THAT(HeatMap(weights, {"a"}, {"b", "c"}, ColorMode::kPlain),
              Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace attention::client
