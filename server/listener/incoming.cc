#include "server/listener/incoming.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace attention::server {
namespace {

struct Counters {
  int64_t received = 0;
  int64_t sent = 0;
};

// Both zero for a Unix socket.
Counters CountersOf(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0) return {};
  return {static_cast<int64_t>(info.tcpi_bytes_received),
          static_cast<int64_t>(info.tcpi_bytes_acked)};
}

}  // namespace

Incoming::Incoming(std::shared_ptr<rpc::Arrival> arrival,
                   memory::Ledger& ledger, Clock::time_point now)
    : arrival_(std::move(arrival)),
      charged_(ledger, memory::Kind::kArriving),
      looked_(now),
      moved_(now),
      second_(now) {}

void Incoming::Look(int fd, Clock::time_point now) {
  // First what reached calls, then what was received: never more than that.
  const int64_t reached = arrival_->reached();
  const Counters counters = CountersOf(fd);
  if (counters.received >= moved_to_ + kMoved || arrival_->is_withheld()) {
    moved_ = now;
    moved_to_ = counters.received;
  }
  const std::chrono::duration<double> passed = now - looked_;
  forgiven_ += (counters.sent - sent_) / kSentShare +
               static_cast<int64_t>(passed.count() * kBytesPerSecond);
  looked_ = now;
  received_ = counters.received;
  sent_ = counters.sent;
  Forgive(received_ - reached - forgiven_, now);
  // More than came is forgiven: calls count with bounds, not what they took.
  // Kept, that would be a credit to hide behind, so it is taken back.
  forgiven_ = std::min(forgiven_, received_ - reached);
  unseen_ = received_ - reached - forgiven_;
  const int64_t charge = std::max<int64_t>(0, unseen_ - kNotCharged);
  if (charge > charged_.bytes()) {
    charged_.Count(charge - charged_.bytes());
  } else {
    charged_.Return(charged_.bytes() - charge);
  }
}

void Incoming::Forgive(int64_t unseen, Clock::time_point now) {
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    given_up_before_ = given_up_;
  }
  given_up_ = arrival_->given_up();
  const int64_t broken = arrival_->broken();
  if (broken != broken_) {
    broken_ = broken;
    forgiving_until_ = now + kAfterBreak;
    doubtful_ /= 2;
  }
  if (now > forgiving_until_ || unseen <= 0) return;
  doubtful_ += unseen;
  forgiven_ += unseen;
}

Incoming::Clock::duration Incoming::StuckFor(Clock::time_point now) const {
  return unseen_ < kHalfSent ? Clock::duration::zero() : now - moved_;
}

}  // namespace attention::server
