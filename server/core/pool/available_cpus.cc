#include "server/core/pool/available_cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "server/core/pool/compute_pool.h"

namespace attention::core {
namespace {

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

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

// Calls `visit` with the folder of `group` under `mount`, and of each group
// above it. Inside a container the path may name a group that is not mounted
// there; the mount itself then is the container's own group.
template <typename Visit>
void ForEachGroupUpwards(const std::string& mount, std::string group,
                         Visit visit) {
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    visit(mount + group);
    if (group.empty()) return;
    const size_t slash = group.rfind('/');
    group.resize(slash == std::string::npos ? 0 : slash);
  }
}

bool HasCpuController(const std::string& controllers) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == "cpu") return true;
  }
  return false;
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
  std::istringstream lines(membership);
  // Each line is "id:controllers:path"; version 2 has id 0 and no controllers.
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second =
        first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string group = line.substr(second + 1);
    if (controllers.empty()) {
      ForEachGroupUpwards(mount, group, [&](const std::string& folder) {
        TakeSmaller(Ratio(ReadWhole(folder + "/cpu.max")), smallest);
      });
    } else if (HasCpuController(controllers)) {
      for (const std::string& name : {controllers, std::string("cpu")}) {
        ForEachGroupUpwards(
            absl::StrCat(mount, "/", name), group,
            [&](const std::string& folder) {
              TakeSmaller(Ratio(ReadWhole(folder + "/cpu.cfs_quota_us") + " " +
                                ReadWhole(folder + "/cpu.cfs_period_us")),
                          smallest);
            });
      }
    }
  }
  return smallest;
}

int AvailableCpus() {
  int cpus = std::max(1, AffinityCpus());
  const std::optional<double> quota =
      CgroupCpuQuota(ReadWhole("/proc/self/cgroup"), "/sys/fs/cgroup");
  // Rounded up: one thread too few wastes more than a thread that is throttled.
  if (quota && *quota < cpus) cpus = static_cast<int>(std::ceil(*quota));
  return std::max(1, cpus);
}

}  // namespace attention::core
