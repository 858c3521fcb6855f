// What connections have brought to the door.
#ifndef SERVER_RPC_DOOR_ARRIVALS_H_
#define SERVER_RPC_DOOR_ARRIVALS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "server/core/mutex.h"

namespace attention::rpc {

// Of one connection: the bytes that have reached a call. What the system has
// received beyond them lies in gRPC, in messages and headers that are not
// complete (server/listener/incoming.h). Thread-safe.
//
// Beside what calls are made of, a client sends what frames it. Each amount is
// counted with an upper bound of that, so that what ordinary clients send is
// always accounted for:
//   a call     its metadata, and 384 bytes: nine for each frame (HEADERS, DATA
//              that ends it, two WINDOW_UPDATEs of thirteen, RST_STREAM of
//              thirteen), pseudo-headers that some clients never index (some
//              180), three records of TLS (29 each)
//   a message  its bytes, a sixteenth of them, and 64: of DATA frames of a KiB
//              nine in a thousand are headers; of TLS records of 1.3 KiB, the
//              shortest that clients cut them to, up to 85 bytes
class Arrival {
 public:
  static constexpr int64_t kCallBytes = 384;
  static constexpr int64_t kMessageBytes = 64;
  static constexpr int64_t kMessageShare = 16;

  void OnCall(int64_t metadata_bytes) {
    reached_.fetch_add(metadata_bytes + kCallBytes, std::memory_order_relaxed);
  }
  void OnMessage(int64_t bytes) {
    reached_.fetch_add(bytes + bytes / kMessageShare + kMessageBytes,
                       std::memory_order_relaxed);
  }
  // A call has ended before all that was sent for it was read: nobody knows how
  // much of it came, and it is gone.
  void OnBroken() {
    given_up_.fetch_add(1, std::memory_order_relaxed);
    OnUnread();
  }
  // The same where it was the server that ended the call.
  void OnUnread() { broken_.fetch_add(1, std::memory_order_relaxed); }
  int64_t broken() const { return broken_.load(std::memory_order_relaxed); }
  // Of them, those that the client gave up (--max-broken-calls).
  int64_t given_up() const { return given_up_.load(std::memory_order_relaxed); }
  int64_t reached() const { return reached_.load(std::memory_order_relaxed); }

  // Whether the server, for reasons of its own, does not read what comes of
  // some call: the connection does not stand still for that time.
  bool is_withheld() const {
    return withheld_.load(std::memory_order_relaxed) > 0;
  }

 private:
  friend class Withholding;

  std::atomic<int64_t> reached_{0};
  std::atomic<int64_t> broken_{0};
  std::atomic<int64_t> given_up_{0};
  std::atomic<int> withheld_{0};
};

// That one call of a connection is not read on. For one thread at a time.
class Withholding {
 public:
  Withholding() = default;
  ~Withholding() { Set(nullptr, false); }
  Withholding(const Withholding&) = delete;
  Withholding& operator=(const Withholding&) = delete;

  // `arrival` is the same each time; nothing happens where it is null.
  void Set(const std::shared_ptr<Arrival>& arrival, bool withheld);

 private:
  std::shared_ptr<Arrival> of_;  // null: it is read
};

// Connections by their peer, as gRPC writes it: "ipv4:127.0.0.1:50051".
// Thread-safe.
class Arrivals {
 public:
  // A connection that has just been accepted.
  std::shared_ptr<Arrival> Add(const std::string& peer);

  // It has ended. Nothing if another has its peer by now.
  void Remove(const std::string& peer, const Arrival* arrival);

  // Null if there is none, as of calls over a Unix socket.
  std::shared_ptr<Arrival> Find(const std::string& peer) const;

 private:
  mutable core::Mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<Arrival>> by_peer_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_ARRIVALS_H_
