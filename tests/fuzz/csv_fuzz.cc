#include "client/cpp/files/csv.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

namespace attention::files {

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const MemorySource source = InputSource(bytes, size);
  for (const ElementType type :
       {ElementType::kFloat32, ElementType::kFloat64, ElementType::kFloat16,
        ElementType::kBfloat16, ElementType::kBool}) {
    Check(ReadCsv(source, type, kFuzzLimits), FileFormat::kCsv);
  }
  return 0;
}

}  // namespace attention::files
