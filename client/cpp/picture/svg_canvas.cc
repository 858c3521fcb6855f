#include "client/cpp/picture/svg_canvas.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "client/cpp/picture/png_file.h"

namespace attention::client {
namespace {

// Beyond that a grid is an image: 1,024 rectangles are 60 KiB.
constexpr size_t kMostRectangles = 1024;

std::string Hex(const Rgb& color) {
  return absl::StrFormat("#%02x%02x%02x", color.red, color.green, color.blue);
}

std::string Escaped(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// With two digits after the point, and without those that are zero.
std::string Coordinate(double value) {
  std::string text = absl::StrFormat("%.2f", value);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

const char* AnchorName(Anchor anchor) {
  switch (anchor) {
    case Anchor::kStart:
      return "start";
    case Anchor::kMiddle:
      return "middle";
    case Anchor::kEnd:
      break;
  }
  return "end";
}

}  // namespace

SvgCanvas::SvgCanvas(int64_t width, int64_t height, absl::string_view title) {
  absl::StrAppendFormat(
      &svg_,
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
      "viewBox=\"0 0 %d %d\" role=\"img\" font-family=\"DejaVu Sans, Verdana, "
      "sans-serif\">\n<title>%s</title>\n",
      width, height, width, height, Escaped(title));
  // Of what is excluded: the ground, and a line across that goes on in the
  // neighbouring tiles.
  absl::StrAppendFormat(
      &svg_,
      "<defs><pattern id=\"excluded\" patternUnits=\"userSpaceOnUse\" "
      "width=\"%1$d\" height=\"%1$d\"><rect width=\"%1$d\" height=\"%1$d\" "
      "fill=\"%2$s\"/><path d=\"M-1 1L1 -1M0 %1$dL%1$d 0M%3$d %4$dL%4$d %3$d\" "
      "stroke=\"%5$s\"/></pattern></defs>\n",
      kHatchPeriod, Hex(kHatchGround), kHatchPeriod - 1, kHatchPeriod + 1,
      Hex(kHatchLine));
  AppendRectangle({0, 0, width, height}, "#ffffff");
}

void SvgCanvas::AppendRectangle(const Area& area, absl::string_view fill) {
  absl::StrAppendFormat(
      &svg_,
      "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n",
      area.x, area.y, area.width, area.height, fill);
}

void SvgCanvas::FillArea(const Area& area, Rgb color) {
  AppendRectangle(area, Hex(color));
}

void SvgCanvas::HatchArea(const Area& area) {
  AppendRectangle(area, "url(#excluded)");
}

void SvgCanvas::DrawCells(const CellGrid& grid) {
  if (grid.cells.size() > kMostRectangles) {
    AppendCellImage(grid);
    return;
  }
  // Crisp, or the seams between neighbours show.
  absl::StrAppend(&svg_, "<g shape-rendering=\"crispEdges\">\n");
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    if (!grid.cells[i].has_value()) continue;
    const auto index = static_cast<int64_t>(i);
    FillArea({grid.x + index % grid.columns * grid.cell_width,
              grid.y + index / grid.columns * grid.cell_height, grid.cell_width,
              grid.cell_height},
             *grid.cells[i]);
  }
  absl::StrAppend(&svg_, "</g>\n");
}

void SvgCanvas::AppendCellImage(const CellGrid& grid) {
  const auto rows = static_cast<int64_t>(grid.cells.size()) / grid.columns;
  PixelImage image;
  image.width = grid.columns * grid.cell_width;
  image.height = rows * grid.cell_height;
  image.channels = 4;
  image.bytes.reserve(static_cast<size_t>(image.width * image.height * 4));
  for (int64_t y = 0; y < image.height; ++y) {
    for (int64_t x = 0; x < image.width; ++x) {
      const std::optional<Rgb>& cell =
          grid.cells[y / grid.cell_height * grid.columns + x / grid.cell_width];
      const Rgb color = cell.value_or(Rgb{0, 0, 0});
      const uint8_t opacity = cell.has_value() ? 255 : 0;
      image.bytes.insert(image.bytes.end(),
                         {color.red, color.green, color.blue, opacity});
    }
  }
  const absl::StatusOr<std::string> png = EncodePng(image);
  if (!png.ok()) {
    status_.Update(png.status());
    return;
  }
  // Pixelated, so that cells stay sharp when they are enlarged.
  absl::StrAppendFormat(&svg_,
                        "<image x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                        "style=\"image-rendering:pixelated\" "
                        "href=\"data:image/png;base64,%s\"/>\n",
                        grid.x, grid.y, image.width, image.height,
                        absl::Base64Escape(*png));
}

void SvgCanvas::DrawText(double x, double y, const TextStyle& style,
                         absl::string_view text) {
  const std::string left = Coordinate(x);
  const std::string baseline = Coordinate(y);
  absl::StrAppendFormat(
      &svg_,
      "<text x=\"%s\" y=\"%s\" font-size=\"%d\" fill=\"%s\" "
      "text-anchor=\"%s\" xml:space=\"preserve\"%s>%s</text>\n",
      left, baseline, style.size, Hex(style.color), AnchorName(style.anchor),
      style.upwards
          ? absl::StrCat(" transform=\"rotate(-90 ", left, " ", baseline, ")\"")
          : "",
      Escaped(text));
}

absl::StatusOr<std::string> SvgCanvas::Finish() {
  if (!status_.ok()) return status_;
  return svg_ + "</svg>\n";
}

}  // namespace attention::client
