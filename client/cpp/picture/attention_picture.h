// What a picture of attention shows, whatever it is drawn with.
#ifndef CLIENT_CPP_PICTURE_ATTENTION_PICTURE_H_
#define CLIENT_CPP_PICTURE_ATTENTION_PICTURE_H_

#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"

namespace attention::client {

// A matrix [query_len, key_len], row-major. NaN is a position that is excluded.
struct Panel {
  std::string title;  // "head 3"; may be empty
  std::vector<double> elements;
};

// Panels of one shape. All text is Printable.
struct AttentionPicture {
  std::string title;                      // may be empty
  std::vector<std::string> query_labels;  // one per row, not none
  std::vector<std::string> key_labels;    // one per column, not none
  std::vector<Panel> panels;              // not none
  // Whether one scale of colours is for all panels, so that they can be
  // compared, rather than each panel having its own.
  bool is_scale_shared = true;
  // Where the shared scale ends; whatever is larger has the same colour.
  // Nothing: at the largest element.
  std::optional<double> scale_end;
};

// From the darkest colour to the lightest: from zero, or from the smallest
// element if one is negative, to the largest. Positions that are excluded do
// not count; 0 to 0 if there are no others.
struct ValueRange {
  double lowest = 0;
  double highest = 0;

  // Where `value` is between the two, from 0 to 1.
  double Level(double value) const {
    if (!(highest > lowest)) return 0;
    const double span = highest - lowest;
    if (std::isfinite(span)) return (value - lowest) / span;
    // Halves, so that nothing overflows.
    return (value / 2 - lowest / 2) / (highest / 2 - lowest / 2);
  }
};
ValueRange RangeOf(absl::Span<const double> elements);
ValueRange RangeOf(const std::vector<Panel>& panels);

// The scale of all panels.
ValueRange SharedRange(const AttentionPicture& picture);

bool HasExcluded(const AttentionPicture& picture);

// How many rows and columns become one where a matrix is drawn smaller.
struct Pooling {
  int64_t rows = 1;
  int64_t columns = 1;

  bool IsNone() const { return rows == 1 && columns == 1; }
};

// `elements`, a matrix of `columns` columns, made smaller: each element is the
// largest of a block, so that no maximum is lost; NaN if all of them are.
std::vector<double> PoolLargest(absl::Span<const double> elements,
                                int64_t columns, const Pooling& pooling);

// Round numbers from lowest to highest, evenly spaced, with at most `intervals`
// between them: steps are 1, 2 or 5 times a power of ten.
std::vector<double> RoundTicks(const ValueRange& range, int intervals);

// The ticks as text, with as many digits as tell them apart.
std::vector<std::string> TickTexts(const std::vector<double>& ticks);

// Which of many labels to show where there is room for every `least`th only: a
// step of 1, 2 or 5 times a power of ten.
int64_t RoundStep(int64_t least);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_ATTENTION_PICTURE_H_
