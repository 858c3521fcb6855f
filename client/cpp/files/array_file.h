// Reading and writing arrays in any of the formats.
#ifndef CLIENT_CPP_FILES_ARRAY_FILE_H_
#define CLIENT_CPP_FILES_ARRAY_FILE_H_

#include <memory>
#include <optional>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/array_bundle.h"
#include "client/cpp/files/byte_source.h"
#include "client/cpp/files/file_format.h"

namespace attention::files {

// Opens a file of several arrays. REQUIRES: IsBundle(format).
absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenBundle(
    const ByteSource& source, FileFormat format);

// Reads one array. What has no type of its own, JSON and CSV, becomes
// `text_type`. Of several arrays `name` says which; it may be left out if there
// is one, and is refused where arrays have no names.
absl::StatusOr<Array> ReadArray(const ByteSource& source, FileFormat format,
                                const std::optional<std::string>& name,
                                ElementType text_type,
                                const ReadLimits& limits);

// That the format can hold `arrays`: exactly one unless it is a bundle, no name
// twice, rank 2 in CSV, at least one axis in JSON. For before a file is opened,
// and so emptied.
absl::Status CheckWritable(absl::Span<const NamedArray> arrays,
                           FileFormat format);

// Writes `arrays`; refuses what CheckWritable does. Whether `out` took it all
// is for the caller to see.
absl::Status WriteArrays(absl::Span<const NamedArray> arrays,
                         const Metadata& metadata, FileFormat format,
                         std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_ARRAY_FILE_H_
