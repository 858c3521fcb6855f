// Pictures as files: what is at which pixel.
#include "client/cpp/picture/draw.h"

#include <png.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "client/cpp/picture/canvas.h"
#include "client/cpp/picture/color.h"
#include "client/cpp/picture/font.h"
#include "client/cpp/picture/layout.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kExcluded = std::numeric_limits<double>::quiet_NaN();

struct Page {
  int64_t width = 0;
  int64_t height = 0;
  std::vector<uint8_t> bytes;

  Rgb At(int64_t x, int64_t y) const {
    const auto index = static_cast<size_t>((y * width + x) * 3);
    return {bytes.at(index), bytes.at(index + 1), bytes.at(index + 2)};
  }
};

Page Decode(const std::string& file) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  if (png_image_begin_read_from_memory(&image, file.data(), file.size()) == 0) {
    ADD_FAILURE() << image.message;
    return {};
  }
  image.format = PNG_FORMAT_RGB;
  Page page = {image.width, image.height,
               std::vector<uint8_t>(PNG_IMAGE_SIZE(image))};
  EXPECT_NE(
      png_image_finish_read(&image, nullptr, page.bytes.data(), 0, nullptr), 0)
      << image.message;
  return page;
}

// Two heads of two queries and three keys; no two elements are alike.
AttentionPicture TwoHeads() {
  AttentionPicture picture;
  picture.title = "Attention <weights> & more";
  picture.query_labels = {"one", "two"};
  picture.key_labels = {"a\"b", "\u4e2d", "\u00e9t\u00e9"};
  picture.panels = {{"head 0", {0, 0.1, kExcluded, 0.2, 0.3, 0.4}},
                    {"head 1", {0.5, 0.6, 0.7, 0.8, kExcluded, 1.0}}};
  return picture;
}

std::string Draw(const AttentionPicture& picture, PictureFormat format,
                 int64_t width = 0) {
  return DrawPicture(picture, format, width).value();
}

Layout LayoutOf(const AttentionPicture& picture) {
  return LayOut(picture, 0, Font::Load().value()).value();
}

bool IsHatch(const Rgb& color) {
  return color == kHatchGround || color == kHatchLine;
}

// The colour at the corner of the cell of an element, where no number is.
Rgb CellColor(const Page& page, const Layout& layout, size_t panel,
              int64_t query, int64_t key) {
  const Area& area = layout.matrices[panel];
  return page.At(area.x + key * layout.cell + 1,
                 area.y + query * layout.cell + 1);
}

TEST(DrawTest, EveryElementIsAtItsRowAndColumnOnOneScale) {
  const AttentionPicture picture = TwoHeads();
  const Layout layout = LayoutOf(picture);
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  ASSERT_EQ(page.width, layout.width);
  ASSERT_EQ(page.height, layout.height);
  for (size_t panel = 0; panel < 2; ++panel) {
    for (int64_t query = 0; query < 2; ++query) {
      for (int64_t key = 0; key < 3; ++key) {
        const double element = picture.panels[panel].elements[query * 3 + key];
        const Rgb color = CellColor(page, layout, panel, query, key);
        if (element != element) {
          EXPECT_TRUE(IsHatch(color)) << panel << query << key;
        } else {
          EXPECT_EQ(color, ColorAt(element)) << panel << query << key;
        }
      }
    }
  }
}

TEST(DrawTest, AScaleOfItsOwnBringsOutEachHead) {
  AttentionPicture picture = TwoHeads();
  picture.is_scale_shared = false;
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  const Layout layout = LayoutOf(picture);
  EXPECT_EQ(CellColor(page, layout, 0, 1, 2), ColorAt(1));
  EXPECT_EQ(CellColor(page, layout, 1, 0, 0), ColorAt(0.5));
  EXPECT_THAT(Draw(picture, PictureFormat::kSvg), HasSubstr("0.00 to 0.40"));
}

TEST(DrawTest, AScaleThatEndsEarlyTellsSmallNumbersApart) {
  AttentionPicture picture = TwoHeads();
  picture.scale_end = 0.2;
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  const Layout layout = LayoutOf(picture);
  EXPECT_EQ(CellColor(page, layout, 0, 0, 1), ColorAt(0.5));
  EXPECT_EQ(CellColor(page, layout, 1, 1, 2), ColorAt(1));
  const std::string svg = Draw(picture, PictureFormat::kSvg);
  EXPECT_THAT(svg, HasSubstr("larger than 0.2"));
  EXPECT_THAT(svg, HasSubstr(">max 1</text>"));
}

TEST(DrawTest, ExcludedIsNotWeightZero) {
  const AttentionPicture picture = TwoHeads();
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  const Layout layout = LayoutOf(picture);
  EXPECT_EQ(CellColor(page, layout, 0, 0, 0), ColorAt(0));
  const Area& area = layout.matrices[0];
  int64_t lines = 0;
  for (int64_t x = 0; x < layout.cell; ++x) {
    const Rgb color = page.At(area.x + 2 * layout.cell + x, area.y + 5);
    EXPECT_TRUE(IsHatch(color));
    lines += color == kHatchLine ? 1 : 0;
  }
  EXPECT_GE(lines, layout.cell / kHatchPeriod);
  const std::string note = ">excluded<";
  EXPECT_THAT(Draw(picture, PictureFormat::kSvg), HasSubstr(note));
  AttentionPicture all = TwoHeads();
  for (Panel& panel : all.panels) {
    std::replace_if(
        panel.elements.begin(), panel.elements.end(),
        [](double element) { return element != element; }, 0.0);
  }
  EXPECT_THAT(Draw(all, PictureFormat::kSvg), Not(HasSubstr(note)));
}

TEST(DrawTest, TheBarRunsFromTheFirstColourUpToTheLast) {
  const AttentionPicture picture = TwoHeads();
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  const Area bar = LayoutOf(picture).color_bar;
  for (int64_t row = 0; row < bar.height; ++row) {
    const double level =
        1 - static_cast<double>(row) / static_cast<double>(bar.height - 1);
    EXPECT_EQ(page.At(bar.x + 2, bar.y + row), ColorAt(level)) << row;
  }
}

TEST(DrawTest, ALoneMaximumIsSeenHoweverSmallThePicture) {
  constexpr int64_t kLength = 700;
  AttentionPicture picture;
  picture.query_labels.assign(kLength, "q");
  picture.key_labels.assign(kLength, "k");
  picture.panels = {{"", std::vector<double>(kLength * kLength, 0)}};
  picture.panels[0].elements[333 * kLength + 501] = 1;
  constexpr int64_t kWidth = 300;
  const Layout layout = LayOut(picture, kWidth, Font::Load().value()).value();
  ASSERT_GT(layout.pooling.columns, 1);
  const Page page = Decode(Draw(picture, PictureFormat::kPng, kWidth));
  const Area& area = layout.matrices[0];
  EXPECT_EQ(page.At(area.x + 501 / layout.pooling.columns * layout.cell,
                    area.y + 333 / layout.pooling.rows * layout.cell),
            ColorAt(1));
}

TEST(DrawTest, LabelsAndTitlesAreTextInTheSvg) {
  const std::string svg = Draw(TwoHeads(), PictureFormat::kSvg);
  for (const char* text :
       {">one</text>", ">two</text>", ">a&quot;b</text>", ">\u4e2d</text>",
        ">\u00e9t\u00e9</text>", ">head 0</text>", ">head 1</text>",
        ">Attention &lt;weights&gt; &amp; more</text>",
        "<title>Attention &lt;weights&gt; &amp; more</title>", ">0.80</text>",
        ">max 1</text>", ">query</text>", ">key</text>"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
}

TEST(DrawTest, LettersTouchThePageWhereTheLayoutSays) {
  // Ink left of the first row: its label, and none without one.
  const auto ink = [](const AttentionPicture& picture) {
    const Page page = Decode(Draw(picture, PictureFormat::kPng));
    const Layout layout = LayoutOf(picture);
    const Area& area = layout.matrices[0];
    int64_t dark = 0;
    for (int64_t y = area.y; y < area.y + layout.cell; ++y) {
      for (int64_t x = area.x - 30; x < area.x - 8; ++x) {
        dark += page.At(x, y).red < 100 ? 1 : 0;
      }
    }
    return dark;
  };
  AttentionPicture picture = TwoHeads();
  EXPECT_GT(ink(picture), 20);
  picture.query_labels = {"", "two"};
  EXPECT_EQ(ink(picture), 0);
}

TEST(DrawTest, ManyCellsBecomeAnImageInTheSvg) {
  AttentionPicture picture;
  picture.query_labels.assign(40, "q");
  picture.key_labels.assign(40, "k");
  picture.panels = {{"", std::vector<double>(1600, 0.5)}};
  const std::string svg = Draw(picture, PictureFormat::kSvg);
  EXPECT_THAT(svg, HasSubstr("data:image/png;base64,iVBOR"));
  EXPECT_THAT(Draw(TwoHeads(), PictureFormat::kSvg), Not(HasSubstr("<image")));
}

TEST(DrawTest, TheSamePictureIsTheSameBytes) {
  for (const PictureFormat format :
       {PictureFormat::kPng, PictureFormat::kSvg}) {
    EXPECT_TRUE(Draw(TwoHeads(), format) == Draw(TwoHeads(), format));
  }
}

TEST(DrawTest, NothingButExcludedIsStillAPicture) {
  AttentionPicture picture = TwoHeads();
  for (Panel& panel : picture.panels) {
    panel.elements.assign(6, kExcluded);
  }
  const Page page = Decode(Draw(picture, PictureFormat::kPng));
  EXPECT_TRUE(IsHatch(CellColor(page, LayoutOf(picture), 1, 1, 1)));
}

}  // namespace
}  // namespace attention::client
