// Open file descriptors.
#ifndef SERVER_LISTENER_DESCRIPTOR_H_
#define SERVER_LISTENER_DESCRIPTOR_H_

#include <cstdint>
#include <utility>

namespace attention::server {

// A descriptor that is closed with this object; -1 is none.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      Close();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  // Leaves it to the caller.
  int Release() { return std::exchange(fd_, -1); }

 private:
  void Close() const;

  int fd_;
};

// Raises the soft limit of what this process may open (RLIMIT_NOFILE) to the
// hard one, and returns what is in force: a shell's 1,024 is no choice of
// anybody's.
int64_t RaiseDescriptorLimit();

}  // namespace attention::server

#endif  // SERVER_LISTENER_DESCRIPTOR_H_
