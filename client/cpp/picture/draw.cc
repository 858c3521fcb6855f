#include "client/cpp/picture/draw.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "client/cpp/picture/canvas.h"
#include "client/cpp/picture/color.h"
#include "client/cpp/picture/font.h"
#include "client/cpp/picture/layout.h"
#include "client/cpp/picture/png_canvas.h"
#include "client/cpp/picture/svg_canvas.h"

namespace attention::client {
namespace {

constexpr Rgb kInk = {32, 32, 32};
constexpr Rgb kSoftInk = {96, 96, 96};
constexpr Rgb kLine = {150, 150, 150};
constexpr int64_t kTickLength = 4;
// From a line's middle down to its baseline: half the height of a capital.
constexpr double kHalfCapital = 0.365;

double Middle(int64_t start, int64_t length) {
  return static_cast<double>(start) + static_cast<double>(length) / 2;
}

double BaselineAt(double middle, int size) {
  return middle + kHalfCapital * size;
}

// `value` with two digits after the point; -0.00 is 0.00.
std::string TwoDigits(double value) {
  std::string text = absl::StrFormat("%.2f", value);
  return text == "-0.00" ? "0.00" : text;
}

class Drawing {
 public:
  Drawing(const AttentionPicture& picture, const Layout& layout,
          const Font& font, Canvas& canvas)
      : picture_(picture), layout_(layout), font_(font), canvas_(canvas) {}

  void DrawAll() {
    canvas_.DrawText(kPageMargin, kPageMargin + kTitleSize, {kTitleSize, kInk},
                     layout_.title);
    const ValueRange shared = SharedRange(picture_);
    for (size_t i = 0; i < picture_.panels.size(); ++i) {
      const Panel& panel = picture_.panels[i];
      DrawPanel(panel, layout_.matrices[i],
                picture_.is_scale_shared ? shared : RangeOf(panel.elements));
      if (layout_.is_leftmost[i]) DrawQueryLabels(layout_.matrices[i]);
      if (layout_.is_lowest[i]) DrawKeyLabels(layout_.matrices[i]);
    }
    DrawAxisTitles();
    DrawColorBar(picture_.is_scale_shared ? shared : ValueRange{0, 1});
    DrawNotes();
  }

 private:
  void DrawPanel(const Panel& panel, const Area& area,
                 const ValueRange& range) {
    std::string title = panel.title;
    if (!picture_.is_scale_shared) {
      absl::StrAppendFormat(&title, "%s%s to %s", title.empty() ? "" : ", ",
                            TwoDigits(range.lowest), TwoDigits(range.highest));
    }
    canvas_.DrawText(Middle(area.x, area.width),
                     static_cast<double>(area.y) - 8,
                     {kPanelTitleSize, kInk, Anchor::kMiddle},
                     font_.Fit(title, kPanelTitleSize,
                               static_cast<double>(area.width) + 12));
    const std::vector<double> elements = PoolLargest(
        panel.elements, static_cast<int64_t>(picture_.key_labels.size()),
        layout_.pooling);
    // What the cells leave open is excluded.
    canvas_.HatchArea(area);
    CellGrid grid = {
        area.x, area.y, layout_.cell, layout_.cell, area.width / layout_.cell,
        {}};
    grid.cells.reserve(elements.size());
    for (const double element : elements) {
      grid.cells.push_back(std::isnan(element) ? std::nullopt
                                               : std::make_optional(ColorAt(
                                                     range.Level(element))));
    }
    canvas_.DrawCells(grid);
    DrawNumbers(elements, grid);
    DrawFrame(area);
  }

  // Into each cell its number, if all of them fit.
  void DrawNumbers(const std::vector<double>& elements, const CellGrid& grid) {
    constexpr double kAround = 6;
    std::vector<std::string> texts;
    double longest = 0;
    if (grid.cell_height < int64_t{2} * kNoteSize) return;
    for (const double element : elements) {
      texts.push_back(std::isnan(element) ? "" : TwoDigits(element));
      longest = std::max(longest, font_.Width(texts.back(), kNoteSize));
      if (longest + kAround > static_cast<double>(grid.cell_width)) return;
    }
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!grid.cells[i].has_value()) continue;
      const auto index = static_cast<int64_t>(i);
      const double x = Middle(grid.x + index % grid.columns * grid.cell_width,
                              grid.cell_width);
      const double y = Middle(grid.y + index / grid.columns * grid.cell_height,
                              grid.cell_height);
      canvas_.DrawText(
          x, BaselineAt(y, kNoteSize),
          {kNoteSize, TextColorOn(*grid.cells[i]), Anchor::kMiddle}, texts[i]);
    }
  }

  // A line of one pixel around `area`.
  void DrawFrame(const Area& area) {
    canvas_.FillArea({area.x - 1, area.y - 1, area.width + 2, 1}, kLine);
    canvas_.FillArea({area.x - 1, area.y + area.height, area.width + 2, 1},
                     kLine);
    canvas_.FillArea({area.x - 1, area.y, 1, area.height}, kLine);
    canvas_.FillArea({area.x + area.width, area.y, 1, area.height}, kLine);
  }

  // Where the cell of element `index` has its middle, from the matrix's edge.
  double CellMiddle(int64_t index, int64_t pooled) const {
    return Middle(index / pooled * layout_.cell, layout_.cell);
  }

  void DrawQueryLabels(const Area& area) {
    const AxisLabels& labels = layout_.query_labels;
    for (size_t i = 0; i < labels.texts.size(); ++i) {
      const double y = static_cast<double>(area.y) +
                       CellMiddle(static_cast<int64_t>(i) * labels.step,
                                  layout_.pooling.rows);
      canvas_.FillArea({area.x - 1 - kTickLength,
                        static_cast<int64_t>(std::floor(y)), kTickLength, 1},
                       kLine);
      canvas_.DrawText(static_cast<double>(area.x - kTickLength) - 4,
                       BaselineAt(y, kLabelSize),
                       {kLabelSize, kInk, Anchor::kEnd}, labels.texts[i]);
    }
  }

  void DrawKeyLabels(const Area& area) {
    const AxisLabels& labels = layout_.key_labels;
    const int64_t below = area.y + area.height + 1;
    for (size_t i = 0; i < labels.texts.size(); ++i) {
      const double x = static_cast<double>(area.x) +
                       CellMiddle(static_cast<int64_t>(i) * labels.step,
                                  layout_.pooling.columns);
      canvas_.FillArea(
          {static_cast<int64_t>(std::floor(x)), below, 1, kTickLength}, kLine);
      const auto start = static_cast<double>(below + kTickLength + 3);
      if (labels.upwards) {
        canvas_.DrawText(BaselineAt(x, kLabelSize), start,
                         {kLabelSize, kInk, Anchor::kEnd, /*upwards=*/true},
                         labels.texts[i]);
      } else {
        canvas_.DrawText(x, start + kLabelSize - 2,
                         {kLabelSize, kInk, Anchor::kMiddle}, labels.texts[i]);
      }
    }
  }

  void DrawAxisTitles() {
    const Area& all = layout_.all_matrices;
    canvas_.DrawText(kPageMargin + kNoteSize, Middle(all.y, all.height),
                     {kLabelSize, kSoftInk, Anchor::kMiddle, /*upwards=*/true},
                     "query");
    canvas_.DrawText(Middle(all.x, all.width),
                     static_cast<double>(all.y + all.height + 22) +
                         layout_.key_labels.extent,
                     {kLabelSize, kSoftInk, Anchor::kMiddle}, "key");
  }

  void DrawColorBar(const ValueRange& range) {
    const Area& bar = layout_.color_bar;
    CellGrid grid = {bar.x, bar.y, bar.width, 1, 1, {}};
    for (int64_t row = 0; row < bar.height; ++row) {
      grid.cells.emplace_back(ColorAt(
          1 - static_cast<double>(row) / static_cast<double>(bar.height - 1)));
    }
    canvas_.DrawCells(grid);
    DrawFrame(bar);
    if (picture_.is_scale_shared) {
      canvas_.DrawText(
          Middle(bar.x, bar.width), static_cast<double>(bar.y) - 8,
          {kNoteSize, kSoftInk, Anchor::kMiddle},
          absl::StrFormat("max %.4g", RangeOf(picture_.panels).highest));
    }
    for (const Tick& tick : layout_.ticks) {
      const double y =
          static_cast<double>(bar.y) +
          (1 - range.Level(tick.value)) * static_cast<double>(bar.height - 1);
      canvas_.FillArea({bar.x + bar.width + 1, std::llround(y), kTickLength, 1},
                       kLine);
      canvas_.DrawText(static_cast<double>(bar.x + bar.width + 8),
                       BaselineAt(y + 0.5, kNoteSize), {kNoteSize, kInk},
                       tick.text);
    }
  }

  // From the foot of the page upwards.
  void DrawNotes() {
    int64_t baseline = layout_.height - kPageMargin;
    for (size_t above = layout_.notes.size(); above > 0; --above) {
      canvas_.DrawText(kPageMargin, static_cast<double>(baseline),
                       {kNoteSize, kSoftInk}, layout_.notes[above - 1]);
      baseline -= kNoteLine;
    }
    if (!layout_.has_excluded) return;
    const Area swatch = {kPageMargin + 1, baseline - 10, 18, 12};
    canvas_.HatchArea(swatch);
    DrawFrame(swatch);
    canvas_.DrawText(kPageMargin + 27, static_cast<double>(baseline),
                     {kNoteSize, kSoftInk}, "excluded");
  }

  const AttentionPicture& picture_;
  const Layout& layout_;
  const Font& font_;
  Canvas& canvas_;
};

}  // namespace

absl::StatusOr<std::string> DrawPicture(const AttentionPicture& picture,
                                        PictureFormat format, int64_t width) {
  const absl::StatusOr<Font> font = Font::Load();
  if (!font.ok()) return font.status();
  const absl::StatusOr<Layout> layout = LayOut(picture, width, *font);
  if (!layout.ok()) return layout.status();
  std::unique_ptr<Canvas> canvas;
  if (format == PictureFormat::kPng) {
    canvas = std::make_unique<PngCanvas>(layout->width, layout->height, *font);
  } else {
    canvas = std::make_unique<SvgCanvas>(layout->width, layout->height,
                                         picture.title);
  }
  Drawing(picture, *layout, *font, *canvas).DrawAll();
  return canvas->Finish();
}

}  // namespace attention::client
