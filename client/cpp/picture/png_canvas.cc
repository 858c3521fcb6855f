#include "client/cpp/picture/png_canvas.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace attention::client {
namespace {

uint8_t Blend(uint8_t under, uint8_t over, uint8_t covered) {
  return static_cast<uint8_t>((under * (255 - covered) + over * covered + 127) /
                              255);
}

}  // namespace

PngCanvas::PngCanvas(int64_t width, int64_t height, const Font& font)
    : font_(font) {
  image_.width = width;
  image_.height = height;
  image_.bytes.assign(static_cast<size_t>(width * height * 3), 255);
}

uint8_t* PngCanvas::Pixel(int64_t x, int64_t y) {
  return &image_.bytes[static_cast<size_t>((y * image_.width + x) * 3)];
}

template <typename ColorOfPixel>
void PngCanvas::Paint(const Area& area, const ColorOfPixel& color_at) {
  const int64_t right = std::min(area.x + area.width, image_.width);
  const int64_t bottom = std::min(area.y + area.height, image_.height);
  for (int64_t y = std::max<int64_t>(area.y, 0); y < bottom; ++y) {
    for (int64_t x = std::max<int64_t>(area.x, 0); x < right; ++x) {
      const Rgb color = color_at(x, y);
      uint8_t* const pixel = Pixel(x, y);
      pixel[0] = color.red;
      pixel[1] = color.green;
      pixel[2] = color.blue;
    }
  }
}

void PngCanvas::FillArea(const Area& area, Rgb color) {
  Paint(area, [color](int64_t, int64_t) { return color; });
}

void PngCanvas::HatchArea(const Area& area) {
  Paint(area, [](int64_t x, int64_t y) {
    return (x + y) % kHatchPeriod == 0 ? kHatchLine : kHatchGround;
  });
}

void PngCanvas::DrawCells(const CellGrid& grid) {
  for (size_t i = 0; i < grid.cells.size(); ++i) {
    if (!grid.cells[i].has_value()) continue;
    const auto index = static_cast<int64_t>(i);
    FillArea({grid.x + index % grid.columns * grid.cell_width,
              grid.y + index / grid.columns * grid.cell_height, grid.cell_width,
              grid.cell_height},
             *grid.cells[i]);
  }
}

void PngCanvas::DrawText(double x, double y, const TextStyle& style,
                         absl::string_view text) {
  const double width = font_.Width(text, style.size);
  const double before = style.anchor == Anchor::kStart    ? 0
                        : style.anchor == Anchor::kMiddle ? width / 2
                                                          : width;
  (style.upwards ? y : x) += style.upwards ? before : -before;
  const Rgb color = style.color;
  font_.Draw(text, style.size, x, y, style.upwards,
             [&](int64_t column, int64_t row, uint8_t covered) {
               if (column < 0 || column >= image_.width || row < 0 ||
                   row >= image_.height) {
                 return;
               }
               uint8_t* const pixel = Pixel(column, row);
               pixel[0] = Blend(pixel[0], color.red, covered);
               pixel[1] = Blend(pixel[1], color.green, covered);
               pixel[2] = Blend(pixel[2], color.blue, covered);
             });
}

absl::StatusOr<std::string> PngCanvas::Finish() { return EncodePng(image_); }

}  // namespace attention::client
