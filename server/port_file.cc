#include "server/port_file.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace attention::server {

PortFile::~PortFile() {
  if (written_) std::remove(path_.c_str());
}

absl::Status PortFile::Write(int port) {
  if (path_.empty()) return absl::OkStatus();
  const std::string fresh = path_ + ".new";
  std::ofstream file(fresh);
  file << port << "\n";
  file.close();
  if (!file || std::rename(fresh.c_str(), path_.c_str()) != 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot write --port-file ", path_, ": ", std::strerror(errno)));
  }
  written_ = true;
  return absl::OkStatus();
}

}  // namespace attention::server
