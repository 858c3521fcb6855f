// What pictures are made of: colours, scales, labels, places.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "client/cpp/picture/attention_picture.h"
#include "client/cpp/picture/color.h"
#include "client/cpp/picture/font.h"
#include "client/cpp/picture/layout.h"
#include "client/cpp/picture/unicode.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::NanSensitiveDoubleEq;
using ::testing::SizeIs;

constexpr double kExcluded = std::numeric_limits<double>::quiet_NaN();

AttentionPicture PictureOf(int64_t panels, int64_t query_len, int64_t key_len) {
  AttentionPicture picture;
  picture.title = "title";
  for (int64_t i = 0; i < query_len; ++i) {
    picture.query_labels.push_back(std::to_string(i));
  }
  for (int64_t i = 0; i < key_len; ++i) {
    picture.key_labels.push_back(std::to_string(i));
  }
  for (int64_t i = 0; i < panels; ++i) {
    picture.panels.push_back(
        {"head", std::vector<double>(query_len * key_len, 0.5)});
  }
  return picture;
}

// CIE's L*, 0 to 100.
double Lightness(const Rgb& color) {
  const auto linear = [](uint8_t channel) {
    const double value = channel / 255.0;
    return value <= 0.04045 ? value / 12.92
                            : std::pow((value + 0.055) / 1.055, 2.4);
  };
  const double luminance = 0.2126 * linear(color.red) +
                           0.7152 * linear(color.green) +
                           0.0722 * linear(color.blue);
  return luminance > 0.008856 ? 116 * std::cbrt(luminance) - 16
                              : 903.3 * luminance;
}

TEST(ColorTest, LightnessRisesEvenly) {
  // Between neighbours by about a 255th of the whole, so that the eye sees no
  // step where there is none in the numbers.
  const double whole = Lightness(ColorAt(1)) - Lightness(ColorAt(0));
  EXPECT_GT(whole, 70);
  for (int i = 0; i < 255; ++i) {
    const double step =
        Lightness(ColorAt((i + 1) / 255.0)) - Lightness(ColorAt(i / 255.0));
    // Rounding to 8 bits makes up to 0.4 of it; two pairs are equal, and two
    // reversed by 0.03, which nobody can see.
    EXPECT_GT(step, -0.04) << i;
    EXPECT_THAT(step, DoubleNear(whole / 255, 0.45)) << i;
  }
}

TEST(ColorTest, LevelsBeyondTheScaleHaveTheColourOfItsEnd) {
  EXPECT_EQ(ColorAt(-1), (Rgb{68, 1, 84}));
  EXPECT_EQ(ColorAt(0), (Rgb{68, 1, 84}));
  EXPECT_EQ(ColorAt(1), (Rgb{253, 231, 37}));
  EXPECT_EQ(ColorAt(7), (Rgb{253, 231, 37}));
}

TEST(ColorTest, TextStandsOutFromItsCell) {
  for (int i = 0; i <= 255; ++i) {
    const Rgb ground = ColorAt(i / 255.0);
    EXPECT_GT(std::abs(Lightness(ground) - Lightness(TextColorOn(ground))), 45)
        << i;
  }
}

TEST(RangeTest, StartsAtZeroUnlessANumberIsNegative) {
  const std::vector<double> weights = {0.25, kExcluded, 0.5};
  EXPECT_EQ(RangeOf(weights).lowest, 0);
  EXPECT_EQ(RangeOf(weights).highest, 0.5);
  const std::vector<double> scores = {-3, kExcluded, -1};
  EXPECT_EQ(RangeOf(scores).lowest, -3);
  EXPECT_EQ(RangeOf(scores).highest, -1);
  EXPECT_EQ(RangeOf(scores).Level(-2), 0.5);
}

TEST(RangeTest, OfPanelsIsTheOneThatHoldsAllOfThem) {
  const std::vector<Panel> panels = {
      {"", {-3, -1}}, {"", {kExcluded}}, {"", {-2, -0.5}}};
  EXPECT_EQ(RangeOf(panels).lowest, -3);
  EXPECT_EQ(RangeOf(panels).highest, -0.5);
}

TEST(RangeTest, LevelsOfARangeBeyondTheLargestDoubleAreBetweenZeroAndOne) {
  const ValueRange range{-1e308, 1e308};
  EXPECT_EQ(range.Level(-1e308), 0);
  EXPECT_EQ(range.Level(0), 0.5);
  EXPECT_EQ(range.Level(1e308), 1);
}

TEST(RangeTest, NothingButExcludedIsAtLevelZero) {
  const ValueRange range = RangeOf(std::vector<double>{kExcluded});
  EXPECT_EQ(range.highest, 0);
  EXPECT_EQ(range.Level(0), 0);
}

TEST(PoolTest, TheLargestOfEachBlockStays) {
  // 3 x 5 in blocks of 2 x 2: the last row and column of blocks are smaller.
  const std::vector<double> elements = {1, 2,         3,         4, 9,  //
                                        5, 0,         kExcluded, 1, 2,  //
                                        0, kExcluded, kExcluded, 7, 8};
  EXPECT_THAT(PoolLargest(elements, 5, {2, 2}), ElementsAre(5, 4, 9, 0, 7, 8));
  EXPECT_THAT(PoolLargest(elements, 5, {1, 1})[8], 1);
}

TEST(PoolTest, ABlockIsExcludedOnlyIfAllOfItIs) {
  const std::vector<double> elements = {kExcluded, kExcluded, 0, kExcluded};
  EXPECT_THAT(PoolLargest(elements, 4, {1, 2}),
              ElementsAre(NanSensitiveDoubleEq(kExcluded), 0));
}

TEST(TickTest, TicksAreRound) {
  EXPECT_THAT(TickTexts(RoundTicks({0, 0.2379}, 5)),
              ElementsAre("0.00", "0.05", "0.10", "0.15", "0.20"));
  EXPECT_THAT(TickTexts(RoundTicks({0, 1}, 5)),
              ElementsAre("0.0", "0.2", "0.4", "0.6", "0.8", "1.0"));
  EXPECT_THAT(TickTexts(RoundTicks({-7.3, 12}, 5)),
              ElementsAre("-5", "0", "5", "10"));
  EXPECT_THAT(TickTexts(RoundTicks({0, 3e-7}, 3)),
              ElementsAre("0", "1e-07", "2e-07", "3e-07"));
}

TEST(TickTest, ARangeOfNothingHasOneTick) {
  EXPECT_THAT(TickTexts(RoundTicks({0, 0}, 5)), ElementsAre("0"));
}

TEST(TickTest, StepsOfLabelsAreRound) {
  std::vector<int64_t> steps;
  for (const int64_t least : {0, 1, 2, 3, 6, 11, 13, 21, 70}) {
    steps.push_back(RoundStep(least));
  }
  EXPECT_THAT(steps, ElementsAre(1, 1, 2, 5, 10, 20, 20, 50, 100));
}

TEST(PrintableTest, ControlCharactersCannotSteerATerminal) {
  EXPECT_EQ(Printable("a\x1b[2Jb\n\x7f"), "a\u241b[2Jb\u240a\u2421");
  const std::string reversing = {'\xe2', '\x80', '\xae'};  // U+202E
  EXPECT_EQ(Printable("\u009b1m" + reversing + "\uffff"),
            "\ufffd1m\ufffd\ufffd");
  EXPECT_EQ(Printable("\u0120the \u4e2d\U0001f600"),
            "\u0120the \u4e2d\U0001f600");
}

TEST(PrintableTest, WhatIsNotUtf8IsReplaced) {
  EXPECT_EQ(Printable("a\xff"), "a\ufffd");
  EXPECT_EQ(Printable("\xc3"), "\ufffd");                      // cut short
  EXPECT_EQ(Printable("\xc0\x80"), "\ufffd\ufffd");            // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");  // a surrogate
  EXPECT_EQ(Printable("\xf4\x90\x80\x80").substr(0, 3), "\ufffd");
}

TEST(FitColumnsTest, WideAndCombiningCharactersCountAsTheyAreShown) {
  EXPECT_EQ(TerminalColumns("\u4e2d\u6587"), 4);
  EXPECT_EQ(TerminalColumns("e\u0301"), 1);
  EXPECT_EQ(FitColumns("abc", 5), "abc  ");
  EXPECT_EQ(FitColumns("abcdef", 4), "abc\u2026");
  EXPECT_EQ(FitColumns("\u4e2d\u6587\u5b57", 4), "\u4e2d\u2026 ");
  EXPECT_EQ(FitColumns("abc", 0), "");
}

TEST(FontTest, LongTextIsCutToItsWidth) {
  const Font font = Font::Load().value();
  const std::string text = "extraordinarily";
  EXPECT_EQ(font.Fit(text, 12, 500), text);
  const std::string cut = font.Fit(text, 12, 50);
  EXPECT_LE(font.Width(cut, 12), 50);
  EXPECT_THAT(cut, HasSubstr("extra"));
  EXPECT_THAT(cut, HasSubstr("\u2026"));
  // As fontTools has it: 1,255 + 1,255 of 2,048 units.
  EXPECT_NEAR(font.Width("nn", 2048), 2 * 1298, 1);
}

TEST(LayoutTest, HeadsAreArrangedWithoutHoles) {
  std::vector<int64_t> columns;
  for (const int64_t panels : {1, 2, 3, 4, 6, 8, 12, 16, 32}) {
    columns.push_back(PanelColumns(panels, 6, 6));
  }
  EXPECT_THAT(columns, ElementsAre(1, 2, 3, 2, 3, 4, 4, 4, 8));
  // One query on many keys: under one another.
  EXPECT_EQ(PanelColumns(12, 1, 100), 1);
}

TEST(LayoutTest, EveryCellHasAPixelAtAnySize) {
  const Font font = Font::Load().value();
  for (const int64_t length : {1, 6, 64, 512}) {
    for (const int64_t panels : {1, 4, 12, 32}) {
      const auto layout = LayOut(PictureOf(panels, length, length), 0, font);
      ASSERT_TRUE(layout.ok()) << layout.status();
      EXPECT_LE(layout->width, kLargestWidth);
      if (panels * length < int64_t{32} * 512) {
        EXPECT_TRUE(layout->pooling.IsNone()) << length << " " << panels;
        EXPECT_EQ(layout->matrices[0].width, layout->cell * length);
      }
    }
  }
}

// Whether two areas have a pixel in common.
bool Overlap(const Area& a, const Area& b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height &&
         b.y < a.y + a.height;
}

void ExpectApartOnThePage(const Layout& layout) {
  std::vector<Area> areas = layout.matrices;
  areas.push_back(layout.color_bar);
  for (size_t i = 0; i < areas.size(); ++i) {
    EXPECT_GE(areas[i].x, 0);
    EXPECT_LE(areas[i].x + areas[i].width, layout.width);
    EXPECT_LE(areas[i].y + areas[i].height, layout.height);
    for (size_t j = 0; j < i; ++j) {
      EXPECT_FALSE(Overlap(areas[i], areas[j])) << i << " " << j;
    }
  }
}

TEST(LayoutTest, NothingOverlapsOrLeavesThePage) {
  const Font font = Font::Load().value();
  for (const int64_t width : {0, 400, 1200}) {
    for (const int64_t panels : {1, 5, 12}) {
      for (const int64_t query_len : {1, 6, 300}) {
        for (const int64_t key_len : {1, 7, 512}) {
          const auto layout =
              LayOut(PictureOf(panels, query_len, key_len), width, font);
          if (!layout.ok()) continue;
          ExpectApartOnThePage(*layout);
          if (width > 0) {
            EXPECT_LE(layout->width, std::max<int64_t>(width, 600));
          }
        }
      }
    }
  }
}

TEST(LayoutTest, LabelsAreThinnedUntilTheyHaveRoom) {
  const Font font = Font::Load().value();
  for (const int64_t length : {6, 64, 512, 2000}) {
    const auto layout = LayOut(PictureOf(1, length, length), 0, font).value();
    const double pitch = static_cast<double>(layout.cell) /
                         static_cast<double>(layout.pooling.rows);
    EXPECT_GE(pitch * static_cast<double>(layout.query_labels.step),
              kLabelSize + 1)
        << length;
    // And no further: five lines at most from one label to the next.
    if (layout.query_labels.step > 1) {
      EXPECT_LT(pitch * static_cast<double>(layout.query_labels.step),
                5 * kLabelSize)
          << length;
    }
  }
}

TEST(LayoutTest, WhatDoesNotFitIsPooledAndSaysSo) {
  const Font font = Font::Load().value();
  const auto layout = LayOut(PictureOf(1, 512, 512), 400, font).value();
  EXPECT_GT(layout.pooling.columns, 1);
  EXPECT_EQ(layout.pooling.rows, layout.pooling.columns);
  EXPECT_LE(layout.width, 400);
  EXPECT_THAT(layout.notes, ElementsAre(HasSubstr("largest of")));
  EXPECT_THAT(LayOut(PictureOf(1, 6, 6), 400, font).value().notes, IsEmpty());
}

TEST(LayoutTest, APageTooNarrowForItsHeadsTellsTheWidthItTakes) {
  const Font font = Font::Load().value();
  const absl::Status status = LayOut(PictureOf(96, 64, 64), 300, font).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  const std::string message(status.message());
  const size_t at = message.rfind("it takes ");
  ASSERT_NE(at, std::string::npos) << message;
  const int64_t needed = std::stoll(message.substr(at + 9));
  EXPECT_TRUE(LayOut(PictureOf(96, 64, 64), needed, font).ok()) << message;
  EXPECT_FALSE(LayOut(PictureOf(96, 64, 64), needed - 1, font).ok()) << message;
}

TEST(LayoutTest, LabelsStandAtTheFirstOfEachRowAndTheLastOfEachColumn) {
  const Font font = Font::Load().value();
  const auto layout = LayOut(PictureOf(5, 6, 6), 0, font).value();
  ASSERT_THAT(layout.matrices, SizeIs(5));  // 3 and 2
  EXPECT_THAT(layout.is_leftmost, ElementsAre(true, false, false, true, false));
  EXPECT_THAT(layout.is_lowest, ElementsAre(false, false, true, true, true));
}

}  // namespace
}  // namespace attention::client
