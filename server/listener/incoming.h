// What a connection has sent and no call has seen.
#ifndef SERVER_LISTENER_INCOMING_H_
#define SERVER_LISTENER_INCOMING_H_

#include <chrono>
#include <cstdint>
#include <memory>

#include "server/memory/ledger.h"
#include "server/rpc/door/arrivals.h"

namespace attention::server {

// The bytes of messages and headers that are not complete: gRPC buffers them
// without a bound and asks nobody. They are the difference of what the system
// has received on the connection (TCP_INFO) and what
// has reached a call (rpc::Arrival), and are charged to the ledger, as
// arriving. Nothing is known of a Unix socket, whose mode keeps others away.
// For one thread.
class Incoming {
 public:
  using Clock = std::chrono::steady_clock;

  // Below this a rest may be framing that no call accounts for, such as the
  // handshake of TLS and the settings of HTTP/2.
  static constexpr int64_t kHalfSent = int64_t{256} << 10;
  // What has to come for a part to have moved: who sends less in the time that
  // --receive-idle gives is not sending.
  static constexpr int64_t kMoved = int64_t{16} << 10;
  // What of it is not charged: as much as any connection may take beside calls.
  static constexpr int64_t kNotCharged = int64_t{128} << 10;
  // A client acknowledges what it reads by WINDOW_UPDATEs, two of thirteen
  // bytes and 29 of TLS each for a frame of 16 KiB at the smallest: less than a
  // 128th of what was sent to it.
  static constexpr int64_t kSentShare = 128;
  // It may ping, seventeen bytes and 29 of TLS, and acknowledge our settings.
  static constexpr int64_t kBytesPerSecond = 64;

  // For how long what comes is forgiven once a call has ended before it was
  // read: its client may go on until it hears of that.
  static constexpr std::chrono::seconds kAfterBreak{1};

  // The ledger outlives this.
  Incoming(std::shared_ptr<rpc::Arrival> arrival, memory::Ledger& ledger,
           Clock::time_point now);

  const rpc::Arrival* arrival() const { return arrival_.get(); }

  // Looks at the connection that `fd` is a duplicate of.
  void Look(int fd, Clock::time_point now);

  // Bytes that no call has seen, as of the last look.
  int64_t unseen() const { return unseen_; }

  // The same, and the recent part of what was forgiven because calls have ended
  // before they were read: gone, unless somebody ends small calls to hide large
  // ones.
  int64_t may_hold() const { return unseen_ + doubtful_; }

  // Calls that have ended before they were read, within the last second or two.
  int64_t broken_calls() const { return given_up_ - given_up_before_; }

  // For how long less than kMoved has come although something is half sent and
  // the server reads; zero otherwise.
  Clock::duration StuckFor(Clock::time_point now) const;

 private:
  // Of `unseen` what a call that has ended may have brought.
  void Forgive(int64_t unseen, Clock::time_point now);

  std::shared_ptr<rpc::Arrival> arrival_;
  memory::Loan charged_;
  int64_t received_ = 0;
  // What has been accounted for beside calls: received bytes that were framing.
  int64_t forgiven_ = 0;
  int64_t sent_ = 0;
  Clock::time_point looked_;
  Clock::time_point moved_;
  int64_t moved_to_ = 0;  // received_ when it last moved
  int64_t broken_ = 0;    // calls so far that have ended before they were read
  int64_t given_up_ = 0;  // of them, those that the client gave up
  int64_t given_up_before_ = 0;  // when this second began
  Clock::time_point second_;     // when it began
  Clock::time_point forgiving_until_;
  int64_t doubtful_ = 0;
  int64_t unseen_ = 0;
};

}  // namespace attention::server

#endif  // SERVER_LISTENER_INCOMING_H_
