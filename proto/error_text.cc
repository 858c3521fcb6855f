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
  return Enumeration(texts, texts.size());
}

std::string Enumeration(const std::vector<std::string>& texts, size_t all) {
  const size_t named = std::min(texts.size(), kMostNamed);
  std::string text = absl::StrJoin(
      texts.begin(), texts.begin() + static_cast<int64_t>(named), ", ");
  if (named < all) absl::StrAppend(&text, " and ", all - named, " more");
  return text;
}

std::string QuotedEnumeration(const std::vector<std::string>& texts) {
  return QuotedEnumeration(texts, texts.size());
}

std::string QuotedEnumeration(const std::vector<std::string>& texts,
                              size_t all) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) {
    if (quoted.size() == kMostNamed) break;
    quoted.push_back(Quoted(text));
  }
  return Enumeration(quoted, all);
}

}  // namespace attention
