#include "server/core/pool/available_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <thread>

#include "server/core/cgroup.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {
namespace {

// Quota over period, where both are positive numbers ("max" and -1 mean none).
std::optional<double> Ratio(const std::string& quota_and_period) {
  std::istringstream words(quota_and_period);
  double quota = 0;
  double period = 0;
  if (words >> quota >> period && quota > 0 && period > 0) {
    return quota / period;
  }
  return std::nullopt;
}

void TakeSmaller(std::optional<double> candidate,
                 std::optional<double>& smallest) {
  if (candidate && (!smallest || *candidate < *smallest)) smallest = candidate;
}

int AffinityCpus() {
  // The kernel refuses a set smaller than its own; 1024 is not the largest.
  for (size_t cpus = 1024; cpus <= (size_t{1} << 20); cpus *= 2) {
    cpu_set_t* const set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    CPU_ZERO_S(bytes, set);
    const bool filled = sched_getaffinity(0, bytes, set) == 0;
    const int count = filled ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (filled) return count;
  }
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

std::optional<double> CgroupCpuQuota(const std::string& membership,
                                     const std::string& mount) {
  std::optional<double> smallest;
  ForEachCgroup(membership, mount, "cpu", [&](const std::string& folder) {
    TakeSmaller(Ratio(TextOfFile(folder + "/cpu.max")), smallest);
    TakeSmaller(Ratio(TextOfFile(folder + "/cpu.cfs_quota_us") + " " +
                      TextOfFile(folder + "/cpu.cfs_period_us")),
                smallest);
  });
  return smallest;
}

int AvailableCpus() {
  int cpus = std::max(1, AffinityCpus());
  const std::optional<double> quota =
      CgroupCpuQuota(TextOfFile("/proc/self/cgroup"), "/sys/fs/cgroup");
  // Rounded up: one thread too few wastes more than a thread that is throttled.
  if (quota && *quota < cpus) cpus = static_cast<int>(std::ceil(*quota));
  return std::max(1, cpus);
}

}  // namespace attention::core
