#include "client/cpp/files/byte_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace attention::files {
namespace {

constexpr int64_t kBlock = 1 << 16;

// A file descriptor that is closed; the standard input stays open.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ > STDIN_FILENO) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status ReadError(const std::string& name) {
  return FileError(name,
                   absl::StrCat("cannot be read: ", std::strerror(errno)));
}

class FileSource : public ByteSource {
 public:
  FileSource(std::string name, int64_t size, Descriptor file)
      : ByteSource(std::move(name), size), file_(std::move(file)) {}

 private:
  absl::Status ReadInside(int64_t offset, int64_t count,
                          char* out) const override {
    while (count > 0) {
      const ssize_t got =
          pread(file_.get(), out, static_cast<size_t>(count), offset);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ReadError(name());
      if (got == 0) {
        return FileError(name(), absl::StrCat("became shorter while it was "
                                              "read; it ends at byte ",
                                              offset));
      }
      out += got;
      offset += got;
      count -= got;
    }
    return absl::OkStatus();
  }

  const Descriptor file_;
};

absl::StatusOr<std::string> ReadPipe(const std::string& name, int fd,
                                     const ReadLimits& limits) {
  std::string bytes;
  char block[kBlock];
  while (true) {
    const ssize_t got = read(fd, block, sizeof(block));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ReadError(name);
    if (got == 0) return bytes;
    bytes.append(block, static_cast<size_t>(got));
    absl::Status status =
        CheckLimit(name, "what comes through the pipe",
                   static_cast<int64_t>(bytes.size()), limits);
    if (!status.ok()) return status;
  }
}

}  // namespace

absl::Status ByteSource::Read(int64_t offset, int64_t count, char* out) const {
  if (offset < 0 || count < 0 || offset > size_ || count > size_ - offset) {
    return FileError(name_,
                     absl::StrCat("ends at byte ", size_, "; expected ", count,
                                  " bytes at ", offset, "; is it cut off?"));
  }
  return ReadInside(offset, count, out);
}

absl::Status MemorySource::ReadInside(int64_t offset, int64_t count,
                                      char* out) const {
  std::copy_n(bytes_.data() + offset, count, out);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ByteSource>> OpenSource(
    const std::string& path, const ReadLimits& limits) {
  const bool is_stdin = path == "-";
  const std::string name = is_stdin ? "the standard input" : path;
  Descriptor file(is_stdin ? STDIN_FILENO
                           : open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) {
    return FileError(name,
                     absl::StrCat("cannot be opened: ", std::strerror(errno)));
  }
  struct stat about = {};
  if (fstat(file.get(), &about) != 0) return ReadError(name);
  if (S_ISDIR(about.st_mode)) {
    return FileError(name, "is a directory; expected a file");
  }
  // The shell may have read the front of a redirected file.
  if (S_ISREG(about.st_mode) && !is_stdin) {
    return std::make_unique<FileSource>(name, about.st_size, std::move(file));
  }
  absl::StatusOr<std::string> bytes = ReadPipe(name, file.get(), limits);
  if (!bytes.ok()) return bytes.status();
  return std::make_unique<MemorySource>(name, *std::move(bytes));
}

absl::string_view BlockReader::Next() {
  const int64_t count = std::min(kBlock, source_.size() - offset_);
  block_.resize(static_cast<size_t>(count));
  status_ = source_.Read(offset_, count, block_.data());
  if (!status_.ok()) return {};
  offset_ += count;
  return block_;
}

}  // namespace attention::files
