#include "bench/memory_growth.h"

#include <fstream>
#include <stdexcept>
#include <string>

namespace attention::bench {
namespace {

// A line of /proc/self/status, in bytes.
int64_t StatusBytes(const std::string& name) {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kilobytes = 0;
    if (word == name && status >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error("/proc/self/status has no " + name);
}

// The peak becomes what is resident now.
void ResetPeak() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5" << std::flush;
  if (!clear) throw std::runtime_error("cannot write /proc/self/clear_refs");
}

}  // namespace

int64_t PeakGrowth(const std::function<void()>& function) {
  ResetPeak();
  const int64_t before = StatusBytes("VmRSS:");
  function();
  return StatusBytes("VmHWM:") - before;
}

}  // namespace attention::bench
