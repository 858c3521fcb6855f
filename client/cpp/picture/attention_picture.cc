#include "client/cpp/picture/attention_picture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"

namespace attention::client {
namespace {

// The smallest of 1, 2 or 5 times a power of ten that is at least `least`.
double RoundUp(double least) {
  const double power = std::pow(10, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    // A step that the division left a hair too large is still that step.
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  }
  return 10 * power;
}

ValueRange Widened(ValueRange range, absl::Span<const double> elements) {
  for (const double element : elements) {
    if (std::isnan(element)) continue;
    range.lowest = std::min(range.lowest, element);
    range.highest = std::max(range.highest, element);
  }
  return range;
}

}  // namespace

ValueRange RangeOf(absl::Span<const double> elements) {
  // Of negative numbers alone, the largest is the end of the range, not zero.
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const ValueRange range = Widened({kInfinity, -kInfinity}, elements);
  if (range.lowest > range.highest) return {};
  return {std::min(range.lowest, 0.0), range.highest};
}

ValueRange RangeOf(const std::vector<Panel>& panels) {
  std::vector<double> ends;
  for (const Panel& panel : panels) {
    const bool has_any =
        !std::all_of(panel.elements.begin(), panel.elements.end(),
                     [](double element) { return std::isnan(element); });
    if (!has_any) continue;
    const ValueRange range = RangeOf(panel.elements);
    ends.insert(ends.end(), {range.lowest, range.highest});
  }
  return RangeOf(ends);
}

ValueRange SharedRange(const AttentionPicture& picture) {
  ValueRange range = RangeOf(picture.panels);
  range.highest = picture.scale_end.value_or(range.highest);
  return range;
}

bool HasExcluded(const AttentionPicture& picture) {
  return std::any_of(
      picture.panels.begin(), picture.panels.end(), [](const Panel& panel) {
        return std::any_of(panel.elements.begin(), panel.elements.end(),
                           [](double element) { return std::isnan(element); });
      });
}

std::vector<double> PoolLargest(absl::Span<const double> elements,
                                int64_t columns, const Pooling& pooling) {
  const auto rows = static_cast<int64_t>(elements.size()) / columns;
  const auto up = [](int64_t count, int64_t by) {
    return (count + by - 1) / by;
  };
  const int64_t pooled_columns = up(columns, pooling.columns);
  std::vector<double> pooled(
      static_cast<size_t>(up(rows, pooling.rows) * pooled_columns),
      std::numeric_limits<double>::quiet_NaN());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      const double element = elements[row * columns + column];
      double& largest = pooled[row / pooling.rows * pooled_columns +
                               column / pooling.columns];
      // fmax takes a number rather than a NaN.
      largest = std::fmax(largest, element);
    }
  }
  return pooled;
}

std::vector<double> RoundTicks(const ValueRange& range, int intervals) {
  const double span = range.highest - range.lowest;
  if (!(span > 0) || !std::isfinite(span)) return {range.lowest};
  const double step = RoundUp(span / intervals);
  std::vector<double> ticks;
  // The ends count even where the division leaves them a hair outside.
  const double first = std::ceil(range.lowest / step - 1e-9);
  const double last = std::floor(range.highest / step + 1e-9);
  for (int i = 0; first + i <= last; ++i) ticks.push_back((first + i) * step);
  return ticks;
}

std::vector<std::string> TickTexts(const std::vector<double>& ticks) {
  double largest = 0;
  for (const double tick : ticks) largest = std::max(largest, std::abs(tick));
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : largest;
  std::vector<std::string> texts;
  for (double tick : ticks) {
    if (tick == 0) tick = 0;  // -0 is 0
    if (largest >= 1e6 || (largest > 0 && step < 1e-5)) {
      texts.push_back(absl::StrFormat("%.3g", tick));
      continue;
    }
    const int digits = step > 0 ? std::max(0, static_cast<int>(-std::floor(
                                                  std::log10(step) + 1e-9)))
                                : 0;
    texts.push_back(absl::StrFormat("%.*f", digits, tick));
  }
  return texts;
}

int64_t RoundStep(int64_t least) {
  return least <= 1 ? 1 : std::llround(RoundUp(static_cast<double>(least)));
}

}  // namespace attention::client
