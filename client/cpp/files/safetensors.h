// Arrays in .safetensors files, the form of most checkpoints.
//
// Source: https://github.com/huggingface/safetensors, "Format". Eight bytes
// with the length of the header, the header in JSON, and the elements; the
// header gives each tensor's dtype, shape and place among the elements.
#ifndef CLIENT_CPP_FILES_SAFETENSORS_H_
#define CLIENT_CPP_FILES_SAFETENSORS_H_

#include <memory>
#include <ostream>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "client/cpp/files/array_bundle.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

// Whether the file can be one: a length that fits it, and then a brace.
bool LooksLikeSafetensors(const ByteSource& source);

// Reads the header and checks all of it: keys that come twice, places that
// overlap, leave a gap or are outside of the file, shapes that do not fit their
// places. A dtype that the service does not know is refused only when it is
// read.
absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenSafetensors(
    const ByteSource& source);

// Writes `arrays` with the largest elements first, so that all are aligned,
// and by name among equals, as the format's own library does: the same arrays
// give the same bytes. REQUIRES: no name comes twice.
void WriteSafetensors(absl::Span<const NamedArray> arrays,
                      const Metadata& metadata, std::ostream& out);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_SAFETENSORS_H_
