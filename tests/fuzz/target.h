// The one function of a fuzz target. libFuzzer calls it with what it makes up,
// run_corpus with the files of a folder.
#ifndef TESTS_FUZZ_TARGET_H_
#define TESTS_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>

namespace attention::files {

// Tries one input; returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

}  // namespace attention::files

#endif  // TESTS_FUZZ_TARGET_H_
