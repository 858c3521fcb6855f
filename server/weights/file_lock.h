// A lock that ends with its process.
#ifndef SERVER_WEIGHTS_FILE_LOCK_H_
#define SERVER_WEIGHTS_FILE_LOCK_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace attention::weights {

// Holds `path`, a file that it makes and that says which process holds it. The
// file stays when the lock ends, however the process does, and then locks
// nothing. Held by one object, within a process too.
class FileLock {
 public:
  // UNAVAILABLE if another has it, naming its process id, or if the file cannot
  // be opened.
  static absl::StatusOr<std::unique_ptr<FileLock>> Acquire(
      const std::string& path);

  // Takes over a lock on `path` that this process held before it was started
  // anew (exec): `file` is its descriptor, and this object's from now on.
  // FAILED_PRECONDITION, and `file` is left alone, if it is anything else.
  static absl::StatusOr<std::unique_ptr<FileLock>> Adopt(
      int file, const std::string& path);

  ~FileLock();
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

  int file() const { return file_; }

 private:
  explicit FileLock(int file) : file_(file) {}

  const int file_;
};

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_FILE_LOCK_H_
