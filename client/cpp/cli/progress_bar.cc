#include "client/cpp/cli/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace attention::client {
namespace {

constexpr std::chrono::milliseconds kBeforeFirst(500);
constexpr std::chrono::milliseconds kBetween(100);

// A bar of fewer columns tells nothing that the percentage does not.
constexpr int kNarrowestBar = 10;
constexpr int kWidestBar = 40;

std::string Bytes(double bytes) {
  constexpr double kStep = 1024;
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  // 1023.95 would read 1024.0.
  while (bytes >= kStep - 0.05 && unit + 1 < std::size(units)) {
    bytes /= kStep;
    ++unit;
  }
  return absl::StrFormat("%.*f %s", unit == 0 ? 0 : 1, bytes, units[unit]);
}

// "42 s", "3 min 05 s", "2 h 10 min".
std::string Duration(double seconds) {
  constexpr double kLongest = 360000;  // 100 h; what comes after is no estimate
  if (!(seconds < kLongest)) return "more than 99 h";
  const auto whole = static_cast<int>(std::ceil(seconds));
  if (whole < 60) return absl::StrCat(whole, " s");
  const int minutes = whole / 60;
  if (minutes < 60) {
    return absl::StrFormat("%d min %02d s", minutes, whole % 60);
  }
  return absl::StrFormat("%d h %02d min", minutes / 60, minutes % 60);
}

std::string Bar(double share, int columns) {
  const auto full = static_cast<int>(share * columns);
  return absl::StrCat("[", std::string(full, '#'),
                      std::string(columns - full, '-'), "] ");
}

}  // namespace

ProgressBar::ProgressBar(std::string label, Terminal terminal)
    : label_(std::move(label)),
      terminal_(std::move(terminal)),
      start_(terminal_.now()),
      next_draw_(start_ + kBeforeFirst) {}

ProgressBar::~ProgressBar() {
  if (drawn_ > 0) {
    terminal_.write(absl::StrCat("\r", std::string(drawn_, ' '), "\r"));
  }
}

void ProgressBar::Show(int64_t bytes, int64_t total_bytes) {
  const Clock::time_point now = terminal_.now();
  if (now < next_draw_) return;
  next_draw_ = now + kBetween;
  const std::string line = Line(
      bytes, total_bytes, std::chrono::duration<double>(now - start_).count(),
      terminal_.width());
  // What is left of a longer line before it goes.
  const size_t rest = drawn_ > line.size() ? drawn_ - line.size() : 0;
  terminal_.write(absl::StrCat("\r", line, std::string(rest, ' ')));
  drawn_ = line.size();
}

std::string ProgressBar::Line(int64_t bytes, int64_t total_bytes,
                              double seconds, int width) const {
  const auto done = static_cast<double>(bytes);
  const auto total = static_cast<double>(total_bytes);
  const double share = total_bytes > 0 ? done / total : 1;
  const double rate = done / seconds;
  const std::string figures = absl::StrFormat(
      "%3d%% %s of %s, %s/s, %s left", static_cast<int>(100 * share),
      Bytes(done), Bytes(total), Bytes(rate), Duration((total - done) / rate));
  const std::string label = label_ + " ";
  // In the last column some terminals begin a new line. Brackets and a space
  // belong to the bar.
  const int columns = width - 1;
  const int room =
      columns - static_cast<int>(label.size() + figures.size()) - 3;
  if (room >= kNarrowestBar) {
    return label + Bar(share, std::min(room, kWidestBar)) + figures;
  }
  return (label + figures).substr(0, static_cast<size_t>(std::max(columns, 0)));
}

OnProgress ShowProgress(const std::string& label, bool quiet) {
  if (quiet || isatty(STDERR_FILENO) == 0) return nullptr;
  const auto width = [] {
    constexpr int kUsual = 80;
    winsize size = {};
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0;
    return known && size.ws_col > 0 ? int{size.ws_col} : kUsual;
  };
  const auto write = [](absl::string_view text) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    std::fflush(stderr);
  };
  const auto bar = std::make_shared<ProgressBar>(
      label, ProgressBar::Terminal{width, ProgressBar::Clock::now, write});
  return [bar](int64_t bytes, int64_t total_bytes) {
    bar->Show(bytes, total_bytes);
  };
}

}  // namespace attention::client
