// Where the bytes of a file come from.
#ifndef CLIENT_CPP_FILES_BYTE_SOURCE_H_
#define CLIENT_CPP_FILES_BYTE_SOURCE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/files/array.h"

namespace attention::files {

// Bytes that can be read in any order, more than once. Not thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // What errors call it.
  const std::string& name() const { return name_; }
  int64_t size() const { return size_; }

  // Fills `out` with the bytes [offset, offset + count). An error if they are
  // not there, also because the file shrank since it was opened.
  absl::Status Read(int64_t offset, int64_t count, char* out) const;

 protected:
  ByteSource(std::string name, int64_t size)
      : name_(std::move(name)), size_(size) {}

 private:
  // Read of bytes within size().
  virtual absl::Status ReadInside(int64_t offset, int64_t count,
                                  char* out) const = 0;

  const std::string name_;
  const int64_t size_;
};

// Bytes in memory.
class MemorySource : public ByteSource {
 public:
  MemorySource(std::string name, std::string bytes)
      : ByteSource(std::move(name), static_cast<int64_t>(bytes.size())),
        bytes_(std::move(bytes)) {}

 private:
  absl::Status ReadInside(int64_t offset, int64_t count,
                          char* out) const override;

  const std::string bytes_;
};

// The file at `path`, read as it is needed; "-" is the standard input. What can
// be read but once, such as a pipe, is taken into memory.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenSource(
    const std::string& path, const ReadLimits& limits = {});

// A source from front to back, block by block.
class BlockReader {
 public:
  // REQUIRES: `source` outlives it.
  explicit BlockReader(const ByteSource& source) : source_(source) {}

  // The next bytes; none at the end, or after an error. Good until the next
  // call.
  absl::string_view Next();

  const absl::Status& status() const { return status_; }

 private:
  const ByteSource& source_;
  int64_t offset_ = 0;
  std::string block_;
  absl::Status status_;
};

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_BYTE_SOURCE_H_
