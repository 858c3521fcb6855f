// How much processor a cgroup lets this process use.
#ifndef SERVER_CORE_POOL_AVAILABLE_CPUS_H_
#define SERVER_CORE_POOL_AVAILABLE_CPUS_H_

#include <optional>
#include <string>

namespace attention::core {

// The smallest CPU quota, in processors, of the cgroup that `membership` (the
// text of /proc/self/cgroup) names and of the groups above it, as they are
// mounted under `mount` (/sys/fs/cgroup). Knows version 2 (cpu.max) and version
// 1 (cpu.cfs_quota_us); empty if there is no quota. Thread-safe.
// Source: Linux Documentation/admin-guide/cgroup-v2.rst, "CPU Interface Files";
// Documentation/scheduler/sched-bwc.rst.
std::optional<double> CgroupCpuQuota(const std::string& membership,
                                     const std::string& mount);

}  // namespace attention::core

#endif  // SERVER_CORE_POOL_AVAILABLE_CPUS_H_
