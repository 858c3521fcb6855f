#include "client/cpp/files/npy.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

namespace attention::files {

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  Check(ReadNpy(InputSource(bytes, size), kFuzzLimits), FileFormat::kNpy);
  return 0;
}

}  // namespace attention::files
