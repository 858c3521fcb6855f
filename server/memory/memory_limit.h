// How much memory a server may hold.
#ifndef SERVER_MEMORY_MEMORY_LIMIT_H_
#define SERVER_MEMORY_MEMORY_LIMIT_H_

#include <sys/resource.h>

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace attention::memory {

// What a process takes beside what its ledger counts: code, stacks and the
// library's tables (resident), and the same with what is only mapped (an idle
// server has 206 MiB of address space).
inline constexpr int64_t kBesideResident = int64_t{128} << 20;
inline constexpr int64_t kBesideMapped = int64_t{512} << 20;

// A limit and where it comes from, in words: "the machine's memory".
struct MemoryLimit {
  int64_t bytes = 0;
  std::string from;
};

// The smallest of: what the control groups allow less kBesideResident,
// RLIMIT_AS, which is `address_space`, less kBesideMapped, the machine's
// memory. May be 0 or less.
MemoryLimit PossibleMemoryLimit(rlim_t address_space);

// The limit that --memory-limit sets, or this process' PossibleMemoryLimit if
// it is 0. FAILED_PRECONDITION, naming what sets it, if so little can be lent
// of it that `needed` bytes do not fit.
absl::StatusOr<MemoryLimit> MemoryLimitFor(int64_t flag, int64_t needed);

// The smallest memory limit, in bytes, of the cgroup that `membership` names
// and of the groups above it, as they are mounted under `mount`; see
// CgroupCpuQuota. Knows version 2 (memory.max) and version 1
// (memory.limit_in_bytes); empty if there is none.
// Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Memory Interface
// Files"; Documentation/admin-guide/cgroup-v1/memory.rst.
std::optional<int64_t> CgroupMemoryLimit(const std::string& membership,
                                         const std::string& mount);

}  // namespace attention::memory

#endif  // SERVER_MEMORY_MEMORY_LIMIT_H_
