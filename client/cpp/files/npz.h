// Arrays in .npz files: numpy.savez, a zip archive of .npy files.
#ifndef CLIENT_CPP_FILES_NPZ_H_
#define CLIENT_CPP_FILES_NPZ_H_

#include <memory>
#include <ostream>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/files/array_bundle.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

// Reads the directory of the archive. An array is read, stored or compressed,
// with its checksum; what is compressed is first unpacked into nothing, so that
// an archive that unfolds to more or less than it states is refused before
// memory is taken. Members that are not .npy files are passed over.
absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenNpz(const ByteSource& source);

// Writes `arrays` in their order, not compressed, as numpy.savez does. Takes
// their bytes once more in memory. The same arrays give the same bytes.
// REQUIRES: there is one; no name comes twice.
absl::Status WriteNpz(absl::Span<const NamedArray> arrays, std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_NPZ_H_
