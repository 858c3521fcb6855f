// Where the parts of a picture are on its page.
#ifndef CLIENT_CPP_PICTURE_LAYOUT_H_
#define CLIENT_CPP_PICTURE_LAYOUT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "client/cpp/picture/attention_picture.h"
#include "client/cpp/picture/canvas.h"
#include "client/cpp/picture/font.h"

namespace attention::client {

// Pixels per em.
inline constexpr int kTitleSize = 17;
inline constexpr int kPanelTitleSize = 13;
inline constexpr int kLabelSize = 12;
inline constexpr int kNoteSize = 11;

inline constexpr int64_t kPageMargin = 24;
inline constexpr int64_t kNoteLine = 18;  // from one note to the next

// Of a page whose width is left to the layout: as wide as it needs to be for
// cells of a pixel, but no less than the one, no more than the other.
inline constexpr int64_t kUsualWidth = 1200;
inline constexpr int64_t kLargestWidth = 4096;

// A page is at most this many times as high as it is wide.
inline constexpr int64_t kHighestPage = 2;

// The labels of one axis: the same for every panel.
struct AxisLabels {
  int64_t step = 1;                // every step-th label is shown
  std::vector<std::string> texts;  // of those: cut where they are too long
  double extent = 0;               // pixels across the axis, for the longest
  bool upwards = false;            // keys whose labels do not fit side by side
};

// A number beside the colour bar.
struct Tick {
  double value = 0;
  std::string text;
};

struct Layout {
  int64_t width = 0;  // of the page
  int64_t height = 0;
  Pooling pooling;
  int64_t cell = 1;            // pixels, either way
  std::vector<Area> matrices;  // of each panel
  // Whether each panel is the first of its row and has the queries' labels,
  // and is the last of its column and has the keys'.
  std::vector<bool> is_leftmost;
  std::vector<bool> is_lowest;
  AxisLabels query_labels;
  AxisLabels key_labels;
  std::string title;  // cut where it is too long
  Area all_matrices;
  Area color_bar;
  std::vector<Tick> ticks;         // of the colour bar
  std::vector<std::string> notes;  // lines at the foot of the page
  bool has_excluded = false;       // one more line, which explains the pattern
};

// Lays `picture` out on a page at most `width` pixels wide; 0 leaves the width
// to the layout. All cells are squares of one size in whole pixels, of at most
// 64; where that would be less than a pixel, the matrices are pooled. An
// INVALID_ARGUMENT error tells the width that is needed for the panels.
// REQUIRES: every panel has as many elements as labels say.
absl::StatusOr<Layout> LayOut(const AttentionPicture& picture, int64_t width,
                              const Font& font);

// The number of columns in which panels [query_len, key_len] are arranged: near
// to a page of 4 by 3, with few places left empty.
int64_t PanelColumns(int64_t panels, int64_t query_len, int64_t key_len);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_LAYOUT_H_
