// Runs a fuzz target over files instead of what a fuzzer makes up.
//
//   <target> FOLDER
//
// Ends with 0 if the folder has inputs that are accepted and inputs that are
// rejected, and none breaks a promise.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: " << argv[0] << " FOLDER\n";
    return 2;
  }
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    std::cerr << entry.path().filename() << "\n";
    attention::files::LLVMFuzzerTestOneInput(
        reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  }
  const attention::files::CheckCounts& counts = attention::files::Counts();
  if (counts.accepted > 0 && counts.rejected > 0) return 0;
  std::cerr << "the folder needs inputs of both kinds\n";
  return 1;
}
