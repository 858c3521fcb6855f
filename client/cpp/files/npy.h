// Arrays in .npy files, numpy's own: numpy.save and numpy.load.
#ifndef CLIENT_CPP_FILES_NPY_H_
#define CLIENT_CPP_FILES_NPY_H_

#include <cstdint>
#include <ostream>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

// Fills `out` with the next `count` bytes, or tells why it cannot.
using NextBytes = absl::FunctionRef<absl::Status(char* out, int64_t count)>;

// Reads one array: versions 1.0 to 3.0, either byte order, either order of axes
// (an array in Fortran's order takes its bytes twice while it is turned). Two
// bytes without a meaning (V2) are taken for bfloat16, since that is what
// numpy.save makes of ml_dtypes.bfloat16. Bytes behind the array are refused.
absl::StatusOr<Array> ReadNpy(const ByteSource& source,
                              const ReadLimits& limits);

// The same of `size` bytes that come one after the other. Allocates for the
// array only once its header agrees with `size`.
absl::StatusOr<Array> ReadNpy(const std::string& source, int64_t size,
                              NextBytes next, const ReadLimits& limits);

// Writes one array; bfloat16 as numpy.save does for ml_dtypes.bfloat16, so
// numpy.load gives V2, to be viewed: array.view(ml_dtypes.bfloat16).
void WriteNpy(const ArrayView& array, std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_NPY_H_
