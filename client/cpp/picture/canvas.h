// What pictures are drawn on.
#ifndef CLIENT_CPP_PICTURE_CANVAS_H_
#define CLIENT_CPP_PICTURE_CANVAS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/picture/color.h"

namespace attention::client {

// In pixels, y down.
struct Area {
  int64_t x = 0;
  int64_t y = 0;
  int64_t width = 0;
  int64_t height = 0;
};

// Rows of cells, all of one size in whole pixels. A cell without colour leaves
// what is under it to be seen.
struct CellGrid {
  int64_t x = 0;  // of the corner at the top left
  int64_t y = 0;
  int64_t cell_width = 1;
  int64_t cell_height = 1;
  int64_t columns = 0;
  std::vector<std::optional<Rgb>> cells;  // row-major
};

enum class Anchor { kStart, kMiddle, kEnd };

struct TextStyle {
  int size = 12;  // pixels per em
  Rgb color = {0, 0, 0};
  Anchor anchor = Anchor::kStart;  // what of the text is at its point
  bool upwards = false;            // turned by a quarter, to the left
};

// A light page of fixed size. Whatever is drawn later covers what is there; the
// same calls make the same bytes. The two kinds, PNG and SVG, agree on where
// things are to the pixel, but for the shapes of letters.
class Canvas {
 public:
  virtual ~Canvas() = default;

  virtual void FillArea(const Area& area, Rgb color) = 0;

  // Fills with the pattern of what is excluded: grey, with lines rising to the
  // right, so that it differs from every colour of ColorAt in print, too.
  virtual void HatchArea(const Area& area) = 0;

  virtual void DrawCells(const CellGrid& grid) = 0;

  // (x, y) is on the baseline. REQUIRES: `text` is Printable.
  virtual void DrawText(double x, double y, const TextStyle& style,
                        absl::string_view text) = 0;

  // The file. Nothing may be drawn any more.
  virtual absl::StatusOr<std::string> Finish() = 0;
};

// The pattern of HatchArea: stripes of one pixel, kHatchPeriod apart along
// either axis.
inline constexpr Rgb kHatchGround = {240, 240, 240};
inline constexpr Rgb kHatchLine = {200, 200, 200};
inline constexpr int kHatchPeriod = 6;

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_CANVAS_H_
