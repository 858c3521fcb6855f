// How shapes, indices, numbers and names read in error messages.
#ifndef PROTO_ERROR_TEXT_H_
#define PROTO_ERROR_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace attention {

// "[2, 6, 3]".
std::string ShapeString(absl::Span<const int64_t> shape);

// "[0, 3, 1]": where element `index` of a row-major tensor stands.
// REQUIRES: no axis is 0.
std::string IndexString(absl::Span<const int64_t> shape, int64_t index);

// The shortest text that reads back as `number`; "NaN", "+inf", "-inf".
std::string NumberString(double number);

// `text` in double quotes, its special bytes escaped, cut after 128 bytes: text
// from strangers must neither break a message nor fill it.
std::string Quoted(absl::string_view text);

// As many texts as an enumeration names.
inline constexpr size_t kMostNamed = 8;

// "1, 2, 5 and 3 more": the first kMostNamed of `texts`, which are all, or the
// first of `all`.
std::string Enumeration(const std::vector<std::string>& texts);
std::string Enumeration(const std::vector<std::string>& texts, size_t all);

// The same of each in quotes.
std::string QuotedEnumeration(const std::vector<std::string>& texts);
std::string QuotedEnumeration(const std::vector<std::string>& texts,
                              size_t all);

}  // namespace attention

#endif  // PROTO_ERROR_TEXT_H_
