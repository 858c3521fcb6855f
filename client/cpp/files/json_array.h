// Arrays in JSON files.
#ifndef CLIENT_CPP_FILES_JSON_ARRAY_H_
#define CLIENT_CPP_FILES_JSON_ARRAY_H_

#include <ostream>

#include "absl/status/statusor.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

// Nested arrays of one length per level, such as [[1, 2], [3, 4]]. An element
// is a number, true, false, or one of "NaN", "Infinity" and "-Infinity", and
// becomes `type`. Errors name the place. REQUIRES: a float type or kBool.
absl::StatusOr<Array> ReadJsonArray(const ByteSource& source, ElementType type,
                                    const ReadLimits& limits);

// Nested arrays, a row per line, with the shortest digits that read back as the
// same elements; a NaN keeps only that it is one. REQUIRES: at least one axis.
void WriteJsonArray(const ArrayView& array, std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_JSON_ARRAY_H_
