#include "client/cpp/picture/layout.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace attention::client {
namespace {

constexpr int64_t kTitleHeight = 36;
constexpr int64_t kPanelTitleHeight = 22;
constexpr int64_t kPanelGap = 18;
constexpr int64_t kAxisTitle = 22;  // "query" and "key"
constexpr int64_t kTick = 8;        // the stroke, and the gap before its label
constexpr int64_t kLongestLabel = 130;
constexpr int64_t kLabelLine = 13;  // from one label to the next
constexpr int64_t kBarGap = 28;
constexpr int64_t kBarWidth = 16;
constexpr int64_t kShortestBar = 120;
constexpr int64_t kLongestBar = 320;
constexpr int64_t kLargestCell = 64;
constexpr int64_t kFew = 64;
constexpr int64_t kSmallestPanel = 16;  // pixels, where there are several

int64_t DivideUp(int64_t count, int64_t by) { return (count + by - 1) / by; }
int64_t Up(double length) { return static_cast<int64_t>(std::ceil(length)); }

// What does not depend on the size of the cells.
struct Frame {
  int64_t columns = 1;  // of panels
  int64_t rows = 1;
  int64_t left = 0;    // from the page's edge to the first matrix
  int64_t right = 0;   // from the last matrix to the page's edge
  int64_t top = 0;     // likewise
  int64_t bottom = 0;  // likewise
  int64_t row_gap = 0;
};

double LongestLabel(const std::vector<std::string>& labels, const Font& font) {
  double longest = 0;
  for (const std::string& label : labels) {
    longest = std::max(longest, font.Width(label, kLabelSize));
    if (longest >= kLongestLabel) return kLongestLabel;
  }
  return longest;
}

// From the page's edge to the first matrix, past queries' labels that long.
int64_t LeftOf(double label) {
  return kPageMargin + kAxisTitle + kTick + Up(label);
}

// With a place for every label, since which are shown depends on the cells.
Frame FrameOf(const AttentionPicture& picture, const Layout& layout,
              const Font& font) {
  const auto panels = static_cast<int64_t>(picture.panels.size());
  Frame frame;
  frame.columns =
      PanelColumns(panels, static_cast<int64_t>(picture.query_labels.size()),
                   static_cast<int64_t>(picture.key_labels.size()));
  frame.rows = std::max<int64_t>(DivideUp(panels, frame.columns), 1);
  frame.left = LeftOf(LongestLabel(picture.query_labels, font));
  double longest_tick = 0;
  for (const Tick& tick : layout.ticks) {
    longest_tick = std::max(longest_tick, font.Width(tick.text, kNoteSize));
  }
  frame.right = kBarGap + kBarWidth + kTick + Up(longest_tick) + kPageMargin;
  const bool has_panel_titles =
      !picture.is_scale_shared ||
      std::any_of(picture.panels.begin(), picture.panels.end(),
                  [](const Panel& panel) { return !panel.title.empty(); });
  const int64_t panel_title = has_panel_titles ? kPanelTitleHeight : 0;
  frame.top =
      kPageMargin + (picture.title.empty() ? 0 : kTitleHeight) + panel_title;
  frame.row_gap = kPanelGap + panel_title;
  frame.bottom = kTick + Up(LongestLabel(picture.key_labels, font)) +
                 kAxisTitle + kPageMargin;
  return frame;
}

// Labels in a row or a column, `cell` pixels per pooled one.
AxisLabels LabelsOf(const std::vector<std::string>& labels, double pitch,
                    const Font& font) {
  AxisLabels axis;
  axis.step = RoundStep(Up(kLabelLine / pitch));
  for (size_t i = 0; i < labels.size(); i += axis.step) {
    axis.texts.push_back(font.Fit(labels[i], kLabelSize, kLongestLabel));
    axis.extent =
        std::max(axis.extent, font.Width(axis.texts.back(), kLabelSize));
  }
  return axis;
}

// Cells of the largest size for which everything fits the page, and pooling
// where that is not even a pixel.
absl::Status ChooseCells(const AttentionPicture& picture, const Frame& frame,
                         int64_t width, Layout& layout) {
  const auto query_len = static_cast<int64_t>(picture.query_labels.size());
  const auto key_len = static_cast<int64_t>(picture.key_labels.size());
  const int64_t around =
      frame.left + frame.right + (frame.columns - 1) * kPanelGap;
  if (width == 0) {
    width = std::clamp(frame.columns * key_len + around, kUsualWidth,
                       kLargestWidth);
  }
  const int64_t across = (width - around) / frame.columns;
  const int64_t down = (width * kHighestPage - frame.top - frame.bottom -
                        (frame.rows - 1) * frame.row_gap) /
                       frame.rows;
  const int64_t needed = std::min(key_len, kSmallestPanel);
  if (width < around + needed * frame.columns ||
      down < std::min(query_len, kSmallestPanel)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a picture of ", width, " pixels is too small for ",
        picture.panels.size(), " matrices beside their labels; it takes ",
        std::max(around + needed * frame.columns,
                 DivideUp(frame.top + frame.bottom +
                              (frame.rows - 1) * frame.row_gap +
                              frame.rows * std::min(query_len, kSmallestPanel),
                          kHighestPage))));
  }
  layout.pooling = {DivideUp(query_len, down), DivideUp(key_len, across)};
  // Alike along both axes, so that a diagonal stays one; but a few rows or
  // columns are not made fewer for that.
  const int64_t most = std::max(layout.pooling.rows, layout.pooling.columns);
  if (query_len > kFew) layout.pooling.rows = most;
  if (key_len > kFew) layout.pooling.columns = most;
  layout.cell =
      std::min({across / DivideUp(key_len, layout.pooling.columns),
                down / DivideUp(query_len, layout.pooling.rows), kLargestCell});
  return absl::OkStatus();
}

void PlaceMatrices(const AttentionPicture& picture, const Frame& frame,
                   Layout& layout) {
  const auto panels = static_cast<int64_t>(picture.panels.size());
  const int64_t width =
      layout.cell * DivideUp(static_cast<int64_t>(picture.key_labels.size()),
                             layout.pooling.columns);
  const int64_t height =
      layout.cell * DivideUp(static_cast<int64_t>(picture.query_labels.size()),
                             layout.pooling.rows);
  for (int64_t i = 0; i < panels; ++i) {
    layout.matrices.push_back(
        {frame.left + i % frame.columns * (width + kPanelGap),
         frame.top + i / frame.columns * (height + frame.row_gap), width,
         height});
    layout.is_leftmost.push_back(i % frame.columns == 0);
    layout.is_lowest.push_back(i + frame.columns >= panels);
  }
  layout.all_matrices = {
      frame.left, frame.top,
      frame.columns * width + (frame.columns - 1) * kPanelGap,
      frame.rows * height + (frame.rows - 1) * frame.row_gap};
}

void PlaceLabels(const AttentionPicture& picture, const Font& font,
                 Layout& layout) {
  const auto cell = static_cast<double>(layout.cell);
  layout.query_labels =
      LabelsOf(picture.query_labels,
               cell / static_cast<double>(layout.pooling.rows), font);
  const double pitch = cell / static_cast<double>(layout.pooling.columns);
  layout.key_labels = LabelsOf(picture.key_labels, pitch, font);
  const double room = pitch * static_cast<double>(layout.key_labels.step);
  layout.key_labels.upwards = layout.key_labels.extent + 6 > room;
  if (!layout.key_labels.upwards) layout.key_labels.extent = kLabelSize;
}

void PlaceNotes(const AttentionPicture& picture, Layout& layout) {
  if (!layout.pooling.IsNone()) {
    layout.notes.push_back(absl::StrCat(
        "Each cell is the largest of ", layout.pooling.rows, " \u00d7 ",
        layout.pooling.columns, " (query \u00d7 key)."));
  }
  if (picture.scale_end.has_value()) {
    layout.notes.push_back(absl::StrCat(
        "What is larger than ", *picture.scale_end, " has the colour of it."));
  }
  if (!picture.is_scale_shared) {
    layout.notes.emplace_back(
        "Each matrix has its own scale, which its title tells.");
  }
  layout.has_excluded = HasExcluded(picture);
}

// Everything around the matrices; settles the size of the page.
void PlaceRest(const AttentionPicture& picture, const Frame& frame,
               const Font& font, Layout& layout) {
  const Area& all = layout.all_matrices;
  layout.color_bar = {all.x + all.width + kBarGap, all.y, kBarWidth,
                      std::clamp(all.height, kShortestBar, kLongestBar)};
  const int64_t bar_end = layout.color_bar.y + layout.color_bar.height +
                          (layout.has_excluded ? kNoteLine : 0);
  const int64_t labels_end =
      all.y + all.height + kTick + Up(layout.key_labels.extent) + kAxisTitle;
  const auto lines =
      static_cast<int64_t>(layout.notes.size()) + (layout.has_excluded ? 1 : 0);
  layout.height = std::max(bar_end, labels_end) +
                  (lines > 0 ? kNoteLine / 2 + lines * kNoteLine : 0) +
                  kPageMargin;
  layout.width = all.x + all.width + frame.right;
  double text_width = font.Width(picture.title, kTitleSize);
  for (const std::string& note : layout.notes) {
    text_width = std::max(text_width, font.Width(note, kNoteSize));
  }
  // A page is made wider for its words, but not without end.
  const double longest = static_cast<double>(
      std::max(layout.width, kUsualWidth / 2) - 2 * kPageMargin);
  layout.width = std::max(layout.width,
                          Up(std::min(text_width, longest)) + 2 * kPageMargin);
  layout.title = font.Fit(picture.title, kTitleSize,
                          static_cast<double>(layout.width - 2 * kPageMargin));
}

}  // namespace

int64_t PanelColumns(int64_t panels, int64_t query_len, int64_t key_len) {
  constexpr double kAspect = 4.0 / 3;
  constexpr double kCostOfEmpty = 4;
  int64_t best = 1;
  double best_cost = 0;
  for (int64_t columns = 1; columns <= panels; ++columns) {
    const int64_t rows = DivideUp(panels, columns);
    const double aspect = static_cast<double>(columns * key_len) /
                          static_cast<double>(rows * query_len);
    const double empty = static_cast<double>(columns * rows - panels) /
                         static_cast<double>(panels);
    const double cost =
        std::abs(std::log(aspect / kAspect)) + kCostOfEmpty * empty;
    if (columns == 1 || cost < best_cost) {
      best = columns;
      best_cost = cost;
    }
  }
  return best;
}

absl::StatusOr<Layout> LayOut(const AttentionPicture& picture, int64_t width,
                              const Font& font) {
  Layout layout;
  if (picture.is_scale_shared) {
    const std::vector<double> values =
        RoundTicks(SharedRange(picture), /*intervals=*/5);
    const std::vector<std::string> texts = TickTexts(values);
    for (size_t i = 0; i < values.size(); ++i) {
      layout.ticks.push_back({values[i], texts[i]});
    }
  } else {
    layout.ticks = {{0, "lowest"}, {1, "largest"}};
  }
  Frame frame = FrameOf(picture, layout, font);
  absl::Status status = ChooseCells(picture, frame, width, layout);
  if (!status.ok()) return status;
  PlaceLabels(picture, font, layout);
  // Labels that are left out need no place.
  frame.left = LeftOf(layout.query_labels.extent);
  PlaceMatrices(picture, frame, layout);
  PlaceNotes(picture, layout);
  PlaceRest(picture, frame, font, layout);
  return layout;
}

}  // namespace attention::client
