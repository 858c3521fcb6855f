// What every reader of files owes, whatever bytes it is given. A breach ends
// the process with a message.
#ifndef TESTS_FUZZ_CHECK_H_
#define TESTS_FUZZ_CHECK_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/cpp/files/array.h"
#include "client/cpp/files/byte_source.h"
#include "client/cpp/files/file_format.h"

namespace attention::files {

// The name of the input in error messages.
constexpr char kInputName[] = "input";

// Far more than a fuzzer's inputs need, far less than would fill the machine.
constexpr ReadLimits kFuzzLimits = {1 << 20};

MemorySource InputSource(const uint8_t* bytes, size_t size);

// One line that starts with the input's name and says what is wrong with it.
void CheckRejected(const absl::Status& status);

// An array whose bytes are as many as its shape says, and that is the same once
// it was written in `format` and read again; of text, a NaN is only a NaN.
void CheckAccepted(const Array& array, FileFormat format);

// One or the other.
void Check(const absl::StatusOr<Array>& array, FileFormat format);

// How often each was called. Printed to stderr when the process ends.
struct CheckCounts {
  ~CheckCounts();
  int64_t accepted = 0;
  int64_t rejected = 0;
};
CheckCounts& Counts();

}  // namespace attention::files

#endif  // TESTS_FUZZ_CHECK_H_
