#include "client/cpp/files/npy.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  using namespace attention::files;  // NOLINT(google-build-using-namespace)
  Check(ReadNpy(InputSource(bytes, size), kFuzzLimits), FileFormat::kNpy);
  return 0;
}
