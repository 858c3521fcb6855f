// Arrays of numbers in JSON and CSV files.
#ifndef CLIENT_CPP_CLI_ARRAY_FILE_H_
#define CLIENT_CPP_CLI_ARRAY_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace attention::client {

// A dense array, row-major.
struct Array {
  std::vector<int64_t> shape;
  std::vector<double> elements;
};

// Everything in the file at `path`; "-" is the standard input. A usage error
// names the path.
absl::StatusOr<std::string> ReadFile(const std::string& path);

// Replaces the file at `path`; "-" is the standard output.
absl::Status WriteFile(const std::string& path, const std::string& text);

// Whether `text` is JSON rather than CSV: it starts with [ or {.
bool LooksLikeJson(const std::string& text);

// Nested arrays of one length per level, such as [[1, 2], [3, 4]]. An element
// is a number, true, false, or one of "NaN", "Infinity" and "-Infinity".
// `source` is what an error calls the text.
absl::StatusOr<Array> ArrayFromJson(const std::string& text,
                                    const std::string& source);

// Rank 2: one row per line, numbers separated by commas, blank lines left out.
// An element is a number, true, false, inf, -inf or nan. An empty text is
// refused.
absl::StatusOr<Array> ArrayFromCsv(const std::string& text,
                                   const std::string& source);

// Nested arrays, a row per line, with the shortest digits that read back as
// the same doubles. REQUIRES: finite elements.
std::string ArrayToJson(const Array& array);

// REQUIRES: rank 2.
std::string ArrayToCsv(const Array& array);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_ARRAY_FILE_H_
