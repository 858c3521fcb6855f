// Arrays in CSV files.
#ifndef CLIENT_CPP_FILES_CSV_H_
#define CLIENT_CPP_FILES_CSV_H_

#include <ostream>

#include "absl/status/statusor.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

// Rank 2: one row per line, numbers separated by commas, blank lines left out.
// An element is a number, true, false, inf, -inf or nan, and becomes `type`. An
// empty file is refused. Errors name line and column.
// REQUIRES: a float type or kBool.
absl::StatusOr<Array> ReadCsv(const ByteSource& source, ElementType type,
                              const ReadLimits& limits);

// With the shortest digits that read back as the same elements; a NaN keeps
// only that it is one. REQUIRES: rank 2.
void WriteCsv(const ArrayView& array, std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_CSV_H_
