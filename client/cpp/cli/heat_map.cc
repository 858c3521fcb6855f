#include "client/cpp/cli/heat_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace attention::client {
namespace {

// From dark blue over teal to yellow: its lightness rises evenly, so it reads
// the same without colour vision. Five points of matplotlib's viridis.
struct Rgb {
  int red, green, blue;
};
constexpr std::array<Rgb, 5> kColors = {{{68, 1, 84},
                                         {59, 82, 139},
                                         {33, 145, 140},
                                         {94, 201, 98},
                                         {253, 231, 37}}};
constexpr absl::string_view kShades = " .:-=+*#%@";
constexpr size_t kCellWidth = 8;

// `level` is in [0, 1].
Rgb ColorAt(double level) {
  const double place = level * (kColors.size() - 1);
  const size_t low = std::min(static_cast<size_t>(place), kColors.size() - 2);
  const double part = place - static_cast<double>(low);
  const auto mix = [part](int from, int to) {
    return static_cast<int>(std::lround(from + part * (to - from)));
  };
  const Rgb& from = kColors[low];
  const Rgb& to = kColors[low + 1];
  return {mix(from.red, to.red), mix(from.green, to.green),
          mix(from.blue, to.blue)};
}

// The nearest entry of xterm's 6 x 6 x 6 cube.
int PaletteIndex(const Rgb& color) {
  const auto step = [](int channel) { return (channel * 5 + 127) / 255; };
  return 16 + 36 * step(color.red) + 6 * step(color.green) + step(color.blue);
}

// A cell of kCellWidth columns.
std::string Cell(double weight, double level, ColorMode mode) {
  if (mode == ColorMode::kPlain) {
    const auto shade = static_cast<size_t>(
        std::lround(level * static_cast<double>(kShades.size() - 1)));
    return absl::StrCat(" ", std::string(kCellWidth - 2, kShades[shade]), " ");
  }
  const Rgb color = ColorAt(level);
  // Black on what is lighter than middle grey, white on the rest.
  const bool light =
      0.299 * color.red + 0.587 * color.green + 0.114 * color.blue > 127;
  const std::string background =
      mode == ColorMode::kTrueColor
          ? absl::StrFormat("48;2;%d;%d;%d", color.red, color.green, color.blue)
          : absl::StrFormat("48;5;%d", PaletteIndex(color));
  return absl::StrFormat("\x1b[%s;38;5;%dm%*.2f  \x1b[0m", background,
                         light ? 16 : 231, static_cast<int>(kCellWidth) - 2,
                         weight);
}

// `text` cut or filled to `width` columns. Counts code points, of which every
// token has as many as columns unless it is in a script this demo has not.
std::string Fit(const std::string& text, size_t width) {
  std::string fitted;
  size_t columns = 0;
  for (const char c : text) {
    const bool starts_character =
        (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    if (starts_character && columns++ == width) return fitted;
    fitted += c;
  }
  return fitted + std::string(width - columns, ' ');
}

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

std::string HeatMap(absl::Span<const double> weights,
                    const std::vector<std::string>& query_tokens,
                    const std::vector<std::string>& key_tokens,
                    ColorMode mode) {
  size_t label_width = 0;
  for (const std::string& token : query_tokens) {
    label_width = std::max(label_width, token.size());
  }
  double largest = 0;
  for (const double weight : weights) largest = std::max(largest, weight);

  std::string text(label_width + 1, ' ');
  for (const std::string& token : key_tokens) {
    absl::StrAppend(&text, " ", Fit(token, kCellWidth - 1));
  }
  text.erase(text.find_last_not_of(' ') + 1);
  text += '\n';
  size_t next = 0;
  for (const std::string& token : query_tokens) {
    std::string line = Fit(token, label_width) + " ";
    for (size_t column = 0; column < key_tokens.size(); ++column) {
      const double weight = weights[next++];
      const double level =
          largest > 0 ? std::clamp(weight / largest, 0.0, 1.0) : 0;
      line += Cell(weight, level, mode);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    absl::StrAppend(&text, line, "\n");
  }
  if (mode == ColorMode::kPlain) {
    absl::StrAppend(&text, std::string(label_width + 2, ' '), "0 |", kShades,
                    "| ", absl::StrFormat("%.2f", largest), "\n");
  }
  return text;
}

}  // namespace attention::client
