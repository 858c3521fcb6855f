// Elements of arrays as text.
#ifndef CLIENT_CPP_FILES_ELEMENT_TEXT_H_
#define CLIENT_CPP_FILES_ELEMENT_TEXT_H_

#include <cstdint>
#include <string>

#include "client/cpp/files/array.h"

namespace attention::files {

// The shortest text that reads back as the same element of the same type: 0.1,
// -0.0, 1e+30, -inf, nan; 0 and 1 for kBool.
std::string ElementText(const ArrayView& array, int64_t index);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_ELEMENT_TEXT_H_
