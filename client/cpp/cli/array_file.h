// Text files, and arrays of numbers in JSON text.
#ifndef CLIENT_CPP_CLI_ARRAY_FILE_H_
#define CLIENT_CPP_CLI_ARRAY_FILE_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

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

// The same with what `write` puts into the stream. Its error is returned, and
// so is that of a file which does not take it all.
absl::Status WriteFile(
    const std::string& path,
    absl::FunctionRef<absl::Status(std::ostream& out)> write);

// Nested arrays of one length per level, such as [[1, 2], [3, 4]]: see
// client/cpp/files/json_array.h. `source` is what an error calls the text.
absl::StatusOr<Array> ArrayFromJson(const std::string& text,
                                    const std::string& source);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_ARRAY_FILE_H_
