// A canvas of pixels.
#ifndef CLIENT_CPP_PICTURE_PNG_CANVAS_H_
#define CLIENT_CPP_PICTURE_PNG_CANVAS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/picture/canvas.h"
#include "client/cpp/picture/font.h"
#include "client/cpp/picture/png_file.h"

namespace attention::client {

// What is drawn beyond the page is lost.
class PngCanvas : public Canvas {
 public:
  // White. REQUIRES: `font` outlives the canvas.
  PngCanvas(int64_t width, int64_t height, const Font& font);

  void FillArea(const Area& area, Rgb color) override;
  void HatchArea(const Area& area) override;
  void DrawCells(const CellGrid& grid) override;
  void DrawText(double x, double y, const TextStyle& style,
                absl::string_view text) override;
  absl::StatusOr<std::string> Finish() override;

 private:
  // `color_at(x, y)` for each pixel of `area`.
  template <typename ColorOfPixel>
  void Paint(const Area& area, const ColorOfPixel& color_at);
  // The three bytes of a pixel on the page.
  uint8_t* Pixel(int64_t x, int64_t y);

  const Font& font_;
  PixelImage image_;
};

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_PNG_CANVAS_H_
