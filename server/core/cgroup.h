// What the control groups of a process allow it.
#ifndef SERVER_CORE_CGROUP_H_
#define SERVER_CORE_CGROUP_H_

#include <string>

#include "absl/functional/function_ref.h"

namespace attention::core {

// Calls `visit` with each folder that has the settings of `controller` ("cpu",
// "memory") for a process: of its group and of every group above, in both
// versions of the interface, whose files have other names. `membership` is the
// process's /proc/self/cgroup, `mount` where the groups are mounted. A folder
// need not exist.
void ForEachCgroup(const std::string& membership, const std::string& mount,
                   const std::string& controller,
                   absl::FunctionRef<void(const std::string& folder)> visit);

// The text of a file; empty if there is none.
std::string TextOfFile(const std::string& path);

}  // namespace attention::core

#endif  // SERVER_CORE_CGROUP_H_
