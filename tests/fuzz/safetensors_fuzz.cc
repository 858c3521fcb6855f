#include "client/cpp/files/safetensors.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

namespace attention::files {

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const MemorySource source = InputSource(bytes, size);
  const auto bundle = OpenSafetensors(source);
  if (!bundle.ok()) {
    CheckRejected(bundle.status());
    return 0;
  }
  for (const std::string& name : (*bundle)->Names()) {
    Check((*bundle)->Read(name, kFuzzLimits), FileFormat::kSafetensors);
  }
  return 0;
}

}  // namespace attention::files
