#include "server/core/cgroup.h"

#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace attention::core {
namespace {

// Calls `visit` with the folder of `group` under `mount`, and of each group
// above it. Inside a container the path may name a group that is not mounted
// there; the mount itself then is the container's own group.
void ForEachGroupUpwards(
    const std::string& mount, std::string group,
    absl::FunctionRef<void(const std::string& folder)> visit) {
  while (true) {
    while (!group.empty() && group.back() == '/') group.pop_back();
    visit(mount + group);
    if (group.empty()) return;
    const size_t slash = group.rfind('/');
    group.resize(slash == std::string::npos ? 0 : slash);
  }
}

bool HasController(const std::string& controllers,
                   const std::string& controller) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == controller) return true;
  }
  return false;
}

}  // namespace

std::string TextOfFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file),
          std::istreambuf_iterator<char>()};
}

void ForEachCgroup(const std::string& membership, const std::string& mount,
                   const std::string& controller,
                   absl::FunctionRef<void(const std::string& folder)> visit) {
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
      ForEachGroupUpwards(mount, group, visit);
    } else if (HasController(controllers, controller)) {
      // Mounted by the names of all that share it, or by its own.
      for (const std::string& name : {controllers, controller}) {
        ForEachGroupUpwards(absl::StrCat(mount, "/", name), group, visit);
      }
    }
  }
}

}  // namespace attention::core
