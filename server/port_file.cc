#include "server/port_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace attention::server {

PortFile::~PortFile() {
  if (is_ours_) std::remove(path_.c_str());
}

absl::Status PortFile::Write(int port) {
  if (path_.empty()) return absl::OkStatus();
  std::error_code ignored;
  const auto status = std::filesystem::symlink_status(path_, ignored);
  const bool is_special = std::filesystem::exists(status) &&
                          !std::filesystem::is_regular_file(status);
  const std::string fresh = is_special ? path_ : path_ + ".new";
  std::ofstream file(fresh);
  file << port << "\n";
  file.close();
  bool written = !file.fail();
  if (!is_special) {
    written = written && std::rename(fresh.c_str(), path_.c_str()) == 0;
    is_ours_ = written;
  }
  if (written) return absl::OkStatus();
  absl::Status failed = absl::UnavailableError(absl::StrCat(
      "cannot write --port-file ", path_, ": ", std::strerror(errno)));
  if (!is_special) std::remove(fresh.c_str());
  return failed;
}

}  // namespace attention::server
