// A canvas of shapes and text.
#ifndef CLIENT_CPP_PICTURE_SVG_CANVAS_H_
#define CLIENT_CPP_PICTURE_SVG_CANVAS_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/picture/canvas.h"

namespace attention::client {

// Text stays text, which can be searched, copied and read aloud; a viewer
// without DejaVu Sans takes a font like it. A few cells become rectangles, many
// an image inside the file, which any viewer can still show quickly.
class SvgCanvas : public Canvas {
 public:
  // White. `title` is what a screen reader calls the picture.
  // REQUIRES: `title` is Printable.
  SvgCanvas(int64_t width, int64_t height, absl::string_view title);

  void FillArea(const Area& area, Rgb color) override;
  void HatchArea(const Area& area) override;
  void DrawCells(const CellGrid& grid) override;
  void DrawText(double x, double y, const TextStyle& style,
                absl::string_view text) override;
  absl::StatusOr<std::string> Finish() override;

 private:
  void AppendRectangle(const Area& area, absl::string_view fill);
  void AppendCellImage(const CellGrid& grid);

  std::string svg_;
  absl::Status status_;  // the first image that could not be made
};

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_SVG_CANVAS_H_
