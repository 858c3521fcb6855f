#include "client/cpp/files/json_array.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

namespace attention::files {

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const MemorySource source = InputSource(bytes, size);
  for (const ElementType type :
       {ElementType::kFloat32, ElementType::kFloat64, ElementType::kFloat16,
        ElementType::kBfloat16, ElementType::kBool}) {
    Check(ReadJsonArray(source, type, kFuzzLimits), FileFormat::kJson);
  }
  return 0;
}

}  // namespace attention::files
