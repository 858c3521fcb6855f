// The front of a .npy file: what its array is made of.
//
// Source: numpy.lib.format, versions 1.0 to 3.0. "\x93NUMPY", two bytes of
// version, the length of the text (2 bytes in version 1, 4 later), and the
// text: a Python dict of descr, fortran_order and shape, filled up with blanks.
#ifndef CLIENT_CPP_FILES_NPY_HEADER_H_
#define CLIENT_CPP_FILES_NPY_HEADER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/files/array.h"

namespace attention::files {

constexpr absl::string_view kNpyMagic("\x93NUMPY", 6);

// Of the text: far more than any shape takes, far less than would hurt.
constexpr int64_t kMaxNpyHeaderBytes = 1 << 20;

struct NpyHeader {
  ElementType type = ElementType::kFloat32;
  bool is_big_endian = false;
  bool is_fortran_order = false;  // the first axis varies fastest
  std::vector<int64_t> shape;
};

// Reads the dict. Strict: exactly the three keys, no expression but literals,
// nothing behind. Refuses what no tensor of the service can hold, object arrays
// and records among it, naming the cure. `source` is what errors call the file.
absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text,
                                         const std::string& source);

// Everything in front of the elements: version 1.0 or, for a shape whose text
// is too long for that, 2.0. As long as a multiple of 64 bytes.
std::string NpyHeaderText(ElementType type, absl::Span<const int64_t> shape);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_NPY_HEADER_H_
