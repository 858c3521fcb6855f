#include "server/memory/memory_limit.h"

#include <unistd.h>

#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/core/cgroup.h"
#include "server/memory/ledger.h"

namespace attention::memory {

std::optional<int64_t> CgroupMemoryLimit(const std::string& membership,
                                         const std::string& mount) {
  std::optional<int64_t> smallest;
  core::ForEachCgroup(
      membership, mount, "memory", [&](const std::string& folder) {
        for (const char* const name :
             {"/memory.max", "/memory.limit_in_bytes"}) {
          int64_t bytes = 0;
          // "max" is no limit; version 1 has a number beyond any memory.
          if (!absl::SimpleAtoi(core::TextOfFile(folder + name), &bytes)) {
            continue;
          }
          smallest = std::min(bytes, smallest.value_or(bytes));
        }
      });
  return smallest;
}

MemoryLimit PossibleMemoryLimit(rlim_t address_space) {
  MemoryLimit limit = {
      static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE),
      "the machine's memory"};
  const auto take_smaller = [&limit](int64_t bytes, const char* from) {
    if (bytes < limit.bytes) limit = {bytes, from};
  };
  if (const auto cgroup = CgroupMemoryLimit(
          core::TextOfFile("/proc/self/cgroup"), "/sys/fs/cgroup")) {
    take_smaller(*cgroup - kBesideResident,
                 "the memory limit of the container or control group, less "
                 "128 MiB");
  }
  if (address_space != RLIM_INFINITY) {
    constexpr rlim_t kLargest = std::numeric_limits<int64_t>::max();
    take_smaller(
        static_cast<int64_t>(std::min(address_space, kLargest)) - kBesideMapped,
        "the limit of address space (ulimit -v), less 512 MiB");
  }
  return limit;
}

absl::StatusOr<MemoryLimit> MemoryLimitFor(int64_t flag, int64_t needed) {
  rlimit address_space{RLIM_INFINITY, RLIM_INFINITY};
  getrlimit(RLIMIT_AS, &address_space);
  MemoryLimit limit = flag > 0 ? MemoryLimit{flag, "--memory-limit"}
                               : PossibleMemoryLimit(address_space.rlim_cur);
  const int64_t lendable = Ledger(std::max<int64_t>(limit.bytes, 0)).lendable();
  if (lendable >= needed) return limit;
  return absl::FailedPreconditionError(absl::StrCat(
      "the server may hold ", std::max<int64_t>(limit.bytes, 0), " bytes (",
      limit.from, "), of which ", lendable,
      " are lent: too few to work, since the largest message that "
      "--max-message-bytes allows takes ",
      needed,
      " while it is received and put together; allow more memory or smaller "
      "messages"));
}

}  // namespace attention::memory
