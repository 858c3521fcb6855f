#include "proto/error_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace attention {

std::string ShapeString(absl::Span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::string IndexString(absl::Span<const int64_t> shape, int64_t index) {
  std::vector<int64_t> place(shape.size());
  for (size_t axis = shape.size(); axis-- > 0;) {
    place[axis] = index % shape[axis];
    index /= shape[axis];
  }
  return ShapeString(place);
}

std::string NumberString(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number > 0 ? "+inf" : "-inf";
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), number).ptr};
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kLongest = 128;
  const bool cut = text.size() > kLongest;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kLongest)),
                      cut ? "...\"" : "\"");
}

std::string Enumeration(const std::vector<std::string>& texts) {
  constexpr size_t kMost = 8;
  const size_t named = std::min(texts.size(), kMost);
  const std::vector<std::string> first(
      texts.begin(), texts.begin() + static_cast<int64_t>(named));
  std::string text = absl::StrJoin(first, ", ");
  if (named < texts.size()) {
    absl::StrAppend(&text, " and ", texts.size() - named, " more");
  }
  return text;
}

std::string QuotedEnumeration(const std::vector<std::string>& texts) {
  std::vector<std::string> quoted(texts.size());
  std::transform(texts.begin(), texts.end(), quoted.begin(), Quoted);
  return Enumeration(quoted);
}

}  // namespace attention
