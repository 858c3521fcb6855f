// The header of a .safetensors file: which tensors it has, and where.
#ifndef CLIENT_CPP_FILES_SAFETENSORS_HEADER_H_
#define CLIENT_CPP_FILES_SAFETENSORS_HEADER_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "client/cpp/files/array_bundle.h"

namespace attention::files {

// One tensor. `begin` and `end` count from behind the header.
struct SafetensorsEntry {
  std::string dtype;  // "F32"; any word
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> entries;
  Metadata metadata;
};

// The element type that `dtype` stands for; none if the service has no such.
std::optional<ElementType> TypeOfSafetensorsDtype(absl::string_view dtype);

// Reads the JSON of a header in front of `data_bytes` bytes of elements, and
// checks all of it. `source` is what errors call the file.
absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    const std::string& text, int64_t data_bytes, const std::string& source);

// The header of `arrays` that lie one behind the other, with its length in
// front; as long as a multiple of 8 bytes.
std::string SafetensorsHeaderText(absl::Span<const NamedArray* const> arrays,
                                  const Metadata& metadata);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_SAFETENSORS_HEADER_H_
