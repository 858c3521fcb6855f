// Tells other processes which port was opened.
#ifndef SERVER_PORT_FILE_H_
#define SERVER_PORT_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace attention::server {

// A file with the port and a newline, for as long as this object lives. Nothing
// if `path` is empty. What is there already and no ordinary file, such as a
// link, a pipe or /dev/stdout, is written to and stays.
class PortFile {
 public:
  explicit PortFile(std::string path) : path_(std::move(path)) {}
  ~PortFile();
  PortFile(const PortFile&) = delete;
  PortFile& operator=(const PortFile&) = delete;

  // An ordinary file appears whole or not at all.
  absl::Status Write(int port);

 private:
  const std::string path_;
  bool is_ours_ = false;
};

}  // namespace attention::server

#endif  // SERVER_PORT_FILE_H_
