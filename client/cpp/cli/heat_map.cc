#include "client/cpp/cli/heat_map.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/picture/color.h"
#include "client/cpp/picture/unicode.h"

namespace attention::client {
namespace {

constexpr absl::string_view kShades = " .:-=+*#%@";
constexpr char kExcluded = '/';
constexpr int kWidestCell = 8;
constexpr int kNumberCell = 6;  // from which on a cell holds its number
constexpr int kPanelGap = 3;
constexpr int kLongestLabel = 16;

// The nearest entry of xterm's 6 x 6 x 6 cube, whose steps are 0, 95, 135, 175,
// 215 and 255.
int PaletteIndex(const Rgb& color) {
  const auto step = [](int channel) {
    if (channel < 48) return 0;
    return channel < 115 ? 1 : (channel - 35) / 40;
  };
  return 16 + 36 * step(color.red) + 6 * step(color.green) + step(color.blue);
}

// `text` in front of the colour of `level`.
std::string Colored(const std::string& text, double level, ColorMode mode) {
  const Rgb color = ColorAt(level);
  const std::string background =
      mode == ColorMode::kTrueColor
          ? absl::StrFormat("48;2;%d;%d;%d", color.red, color.green, color.blue)
          : absl::StrFormat("48;5;%d", PaletteIndex(color));
  return absl::StrFormat("\x1b[%s;38;5;%dm%s\x1b[0m", background,
                         TextColorOn(color) == Rgb{0, 0, 0} ? 16 : 231, text);
}

char ShadeAt(double level) {
  return kShades[std::lround(std::clamp(level, 0.0, 1.0) *
                             static_cast<double>(kShades.size() - 1))];
}

void StripRight(std::string& line) {
  line.erase(line.find_last_not_of(' ') + 1);
}

// How a picture is fitted to the terminal.
struct Fitting {
  int columns = 0;  // of the terminal
  int label_width = 0;
  int cell = kWidestCell;
  int64_t panels_per_row = 1;
  Pooling pooling;
};

int LabelWidth(const std::vector<std::string>& labels) {
  int widest = 0;
  for (const std::string& label : labels) {
    widest = std::max(widest, TerminalColumns(label));
  }
  return std::min(widest, kLongestLabel);
}

Fitting FitTo(const AttentionPicture& picture, int columns) {
  Fitting fitting;
  fitting.columns = columns;
  fitting.label_width = LabelWidth(picture.query_labels);
  const auto panels = static_cast<int64_t>(picture.panels.size());
  const auto key_len = static_cast<int64_t>(picture.key_labels.size());
  const int64_t room =
      std::max<int64_t>(columns - fitting.label_width - 1, kShades.size());
  // Many panels are small, to be seen beside each other.
  std::vector<int> cells = {3, 2, 1};
  if (panels <= 2) cells = {kWidestCell, kNumberCell, 4, 3, 2, 1};
  fitting.cell = *std::find_if(cells.begin(), cells.end() - 1, [&](int cell) {
    return cell * key_len <= room;
  });
  fitting.pooling.columns = (key_len * fitting.cell + room - 1) / room;
  fitting.pooling.rows = fitting.pooling.columns;
  const int64_t width = (key_len + fitting.pooling.columns - 1) /
                        fitting.pooling.columns * fitting.cell;
  fitting.panels_per_row =
      std::clamp<int64_t>((room + kPanelGap) / (width + kPanelGap), 1, panels);
  return fitting;
}

class TextPicture {
 public:
  TextPicture(const AttentionPicture& picture, const Fitting& fitting,
              ColorMode mode)
      : picture_(picture),
        fitting_(fitting),
        mode_(mode),
        shared_(SharedRange(picture)) {}

  std::string Text() {
    if (!picture_.title.empty()) {
      AddLine(TerminalColumns(picture_.title) > fitting_.columns
                  ? FitColumns(picture_.title, fitting_.columns)
                  : picture_.title);
    }
    for (size_t first = 0; first < picture_.panels.size();
         first += fitting_.panels_per_row) {
      AddPanels(first, std::min<size_t>(first + fitting_.panels_per_row,
                                        picture_.panels.size()));
    }
    AddLegend();
    return text_;
  }

 private:
  int64_t PooledColumns() const {
    return (static_cast<int64_t>(picture_.key_labels.size()) +
            fitting_.pooling.columns - 1) /
           fitting_.pooling.columns;
  }

  std::string Indent() const {
    std::string blanks(fitting_.label_width + 1, ' ');
    return blanks;
  }

  // Under the matrices, or further to the left if that is too wide.
  void AddNote(const std::string& note, size_t columns) {
    const int indent = std::clamp(fitting_.columns - static_cast<int>(columns),
                                  0, fitting_.label_width + 2);
    AddLine(std::string(indent, ' ') + note);
  }

  void AddLine(std::string line) {
    StripRight(line);
    absl::StrAppend(&text_, line, "\n");
  }

  // Panels [first, last) side by side.
  void AddPanels(size_t first, size_t last) {
    const auto width = static_cast<int>(PooledColumns() * fitting_.cell);
    const std::string gap(kPanelGap, ' ');
    std::string titles = Indent();
    std::string keys = Indent();
    std::vector<std::vector<double>> pooled;
    for (size_t i = first; i < last; ++i) {
      const Panel& panel = picture_.panels[i];
      absl::StrAppend(&titles, i > first ? gap : "",
                      FitColumns(panel.title, width));
      absl::StrAppend(&keys, i > first ? gap : "", KeyLabels());
      pooled.push_back(PoolLargest(
          panel.elements, static_cast<int64_t>(picture_.key_labels.size()),
          fitting_.pooling));
    }
    if (first > 0) text_ += '\n';
    StripRight(titles);
    if (!titles.empty()) AddLine(titles);
    AddLine(keys);
    for (size_t row = 0; row * PooledColumns() < pooled[0].size(); ++row) {
      std::string line =
          FitColumns(picture_.query_labels[row * fitting_.pooling.rows],
                     fitting_.label_width) +
          " ";
      for (size_t i = 0; i < pooled.size(); ++i) {
        if (i > 0) line += gap;
        const ValueRange range =
            picture_.is_scale_shared
                ? shared_
                : RangeOf(picture_.panels[first + i].elements);
        for (int64_t column = 0; column < PooledColumns(); ++column) {
          line += Cell(pooled[i][row * PooledColumns() + column], range);
        }
      }
      AddLine(line);
    }
  }

  // As many as have room, each over its column.
  std::string KeyLabels() const {
    const bool has_margin = fitting_.cell >= kNumberCell;
    const int wanted =
        std::min(LabelWidth(picture_.key_labels), fitting_.cell < 3 ? 8 : 4);
    const int64_t step =
        has_margin ? 1 : RoundStep((wanted + fitting_.cell) / fitting_.cell);
    std::string line;
    for (int64_t column = 0; column < PooledColumns(); column += step) {
      const int64_t columns = std::min(step, PooledColumns() - column);
      const auto room = static_cast<int>(columns * fitting_.cell) - 1;
      const std::string& label =
          picture_.key_labels[column * fitting_.pooling.columns];
      // The last may have less room than the others.
      const bool is_shown = columns == step || TerminalColumns(label) <= room;
      // One blank stands between labels: in front of them where cells have a
      // margin there.
      absl::StrAppend(&line, has_margin ? " " : "",
                      is_shown ? FitColumns(label, room)
                               : std::string(std::max(room, 0), ' '),
                      has_margin ? "" : " ");
    }
    return line;
  }

  std::string Cell(double element, const ValueRange& range) const {
    if (std::isnan(element)) return Filled(kExcluded);
    const double level = range.Level(element);
    if (mode_ == ColorMode::kPlain) return Filled(ShadeAt(level));
    std::string text(fitting_.cell, ' ');
    const std::string number = absl::StrFormat("%.2f", element);
    const size_t after = fitting_.cell == kWidestCell ? 2 : 1;
    if (fitting_.cell >= kNumberCell && number.size() + after < text.size()) {
      text.replace(text.size() - after - number.size(), number.size(), number);
    }
    return Colored(text, level, mode_);
  }

  // A cell of one character, with a margin where it is wide.
  std::string Filled(char shade) const {
    std::string cell(fitting_.cell, shade);
    if (fitting_.cell < 3) return cell;
    if (fitting_.cell < kNumberCell) {
      return std::string(fitting_.cell - 1, shade) + " ";
    }
    return absl::StrCat(" ", std::string(fitting_.cell - 2, shade), " ");
  }

  void AddLegend() {
    const std::string low =
        picture_.is_scale_shared ? EndText(shared_.lowest) : "lowest";
    const std::string high =
        picture_.is_scale_shared ? EndText(shared_.highest) : "largest of each";
    std::string scale;
    for (size_t i = 0; i < kShades.size(); ++i) {
      const double level =
          static_cast<double>(i) / static_cast<double>(kShades.size() - 1);
      scale += mode_ == ColorMode::kPlain ? std::string(1, kShades[i])
                                          : Colored("  ", level, mode_);
    }
    const absl::string_view edge = mode_ == ColorMode::kPlain ? "|" : "";
    const size_t scale_columns =
        mode_ == ColorMode::kPlain ? kShades.size() : 2 * kShades.size();
    AddNote(absl::StrCat(low, " ", edge, scale, edge, " ", high),
            low.size() + high.size() + scale_columns + 2 * edge.size() + 2);
    std::vector<std::string> notes;
    if (picture_.scale_end.has_value()) {
      notes.push_back("or more: largest is " +
                      EndText(RangeOf(picture_.panels).highest));
    }
    if (HasExcluded(picture_)) {
      notes.push_back(std::string(2, kExcluded) + " excluded");
    }
    if (!fitting_.pooling.IsNone()) {
      notes.push_back(absl::StrCat("each cell is the largest of ",
                                   fitting_.pooling.rows, " x ",
                                   fitting_.pooling.columns));
    }
    for (const std::string& note : notes) AddNote(note, note.size());
  }

  static std::string EndText(double value) {
    if (value == 0) return "0";
    if (std::abs(value) < 1e6) return absl::StrFormat("%.2f", value);
    return absl::StrFormat("%.3g", value);
  }

  const AttentionPicture& picture_;
  const Fitting fitting_;
  const ColorMode mode_;
  const ValueRange shared_;
  std::string text_;
};

}  // namespace

ColorMode DetectColorMode(const char* no_color, const char* color_term,
                          const char* term, bool is_terminal) {
  const auto text = [](const char* value) {
    return absl::string_view(value == nullptr ? "" : value);
  };
  if (!is_terminal || !text(no_color).empty() || text(term).empty() ||
      text(term) == "dumb") {
    return ColorMode::kPlain;
  }
  if (text(color_term) == "truecolor" || text(color_term) == "24bit") {
    return ColorMode::kTrueColor;
  }
  return absl::StrContains(text(term), "256color") ? ColorMode::k256
                                                   : ColorMode::kPlain;
}

std::string TerminalPicture(const AttentionPicture& picture, ColorMode mode,
                            int columns) {
  return TextPicture(picture, FitTo(picture, columns), mode).Text();
}

std::string HeatMap(absl::Span<const double> weights,
                    const std::vector<std::string>& query_tokens,
                    const std::vector<std::string>& key_tokens,
                    ColorMode mode) {
  AttentionPicture picture;
  for (const std::string& token : query_tokens) {
    picture.query_labels.push_back(Printable(token));
  }
  for (const std::string& token : key_tokens) {
    picture.key_labels.push_back(Printable(token));
  }
  picture.panels.push_back({"", {weights.begin(), weights.end()}});
  return TerminalPicture(picture, mode, std::numeric_limits<int>::max());
}

}  // namespace attention::client
