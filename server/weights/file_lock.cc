#include "server/weights/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace attention::weights {
namespace {

// " (process 1234)", as far as the holder has written it.
std::string HolderIn(int file) {
  char text[32];
  const ssize_t size = pread(file, text, sizeof(text), 0);
  const absl::string_view holder = absl::StripAsciiWhitespace(
      absl::string_view(text, size > 0 ? static_cast<size_t>(size) : 0));
  return holder.empty() ? "" : absl::StrCat(" (process ", holder, ")");
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Acquire(
    const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot open ", path, ": ", std::strerror(errno)));
  }
  std::unique_ptr<FileLock> lock(new FileLock(file));
  if (flock(file, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    return absl::UnavailableError(
        error == EWOULDBLOCK
            ? absl::StrCat("another server", HolderIn(file), " holds ", path,
                           "; expected it stopped, or another file")
            : absl::StrCat("cannot lock ", path, ": ", std::strerror(error)));
  }
  // For the message above only: a disk too full for it locks all the same.
  const std::string holder = absl::StrCat(getpid(), "\n");
  if (ftruncate(file, 0) == 0) {
    [[maybe_unused]] const ssize_t written =
        pwrite(file, holder.data(), holder.size(), 0);
  }
  return lock;
}

absl::StatusOr<std::unique_ptr<FileLock>> FileLock::Adopt(
    int file, const std::string& path) {
  struct stat open {};
  struct stat named {};
  const bool same = fstat(file, &open) == 0 &&
                    stat(path.c_str(), &named) == 0 &&
                    open.st_dev == named.st_dev && open.st_ino == named.st_ino;
  // Of whoever has the lock by this very descriptor it is asked in vain.
  if (!same || flock(file, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("descriptor ", file, " holds no lock on ", path));
  }
  return std::unique_ptr<FileLock>(new FileLock(file));
}

FileLock::~FileLock() { close(file_); }

}  // namespace attention::weights
