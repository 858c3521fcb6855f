#include "server/listener/connections.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "server/memory/allocated.h"

namespace attention::server {
namespace {

// How many connections have their turn at a time. A look is one call of the
// system, and ten thousand have had theirs in a second.
constexpr size_t kLooksAtATime = 500;
// Of connections that are ended, so that a client which comes again and again
// does not fill the log.
constexpr int64_t kLinesPerSecond = 10;
// With this much it is looked at each time.
constexpr int64_t kMuch = int64_t{64} << 10;

struct Peer {
  std::string address;  // the same for IPv4 mapped into IPv6
  std::string name;     // as gRPC writes it
};

// Of a Unix socket both are empty.
Peer PeerOf(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) {
    return {};
  }
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.ss_family == AF_INET) {
    const auto& of = reinterpret_cast<const sockaddr_in&>(peer);
    inet_ntop(AF_INET, &of.sin_addr, text, sizeof(text));
    return {text, absl::StrCat("ipv4:", text, ":", ntohs(of.sin_port))};
  }
  if (peer.ss_family == AF_INET6) {
    const auto& of = reinterpret_cast<const sockaddr_in6&>(peer);
    inet_ntop(AF_INET6, &of.sin6_addr, text, sizeof(text));
    const int port = ntohs(of.sin6_port);
    absl::string_view address = text;
    if (absl::ConsumePrefix(&address, "::ffff:")) {
      return {std::string(address), absl::StrCat("ipv4:", address, ":", port)};
    }
    return {text, absl::StrCat("ipv6:%5B", text, "%5D:", port)};
  }
  return {};
}

}  // namespace

Connections::Connections(const Limits& limits, rpc::Arrivals& arrivals,
                         memory::Ledger& ledger)
    : limits_(limits),
      arrivals_(arrivals),
      ledger_(ledger),
      allocated_at_start_(memory::AllocatedBytes()),
      endings_(std::make_unique<rpc::LineLimit>(kLinesPerSecond)) {}

void Connections::Add(Descriptor duplicate) {
  const int fd = duplicate.get();
  Peer peer = PeerOf(fd);
  const auto now = Clock::now();
  std::optional<Incoming> incoming;
  if (!peer.name.empty()) {
    incoming.emplace(arrivals_.Add(peer.name), ledger_, now);
  }
  ++wanted_of_[peer.address];
  ++wanted_;
  open_.insert_or_assign(
      fd, Connection{std::move(duplicate), std::move(peer.address),
                     std::move(peer.name), now, std::move(incoming)});
}

void Connections::Forget(Connection& connection) {
  if (std::exchange(connection.is_ending, true)) return;
  const auto of = wanted_of_.find(connection.address);
  if (--of->second == 0) wanted_of_.erase(of);
  --wanted_;
}

void Connections::Remove(int duplicate) {
  const auto found = open_.find(duplicate);
  if (found == open_.end()) return;
  Forget(found->second);
  if (found->second.incoming) {
    arrivals_.Remove(found->second.peer, found->second.incoming->arrival());
  }
  open_.erase(found);
}

int64_t Connections::SilentFor(const Connection& connection) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  if (getsockopt(connection.duplicate.get(), IPPROTO_TCP, TCP_INFO, &info,
                 &length) == 0) {
    return std::min(info.tcpi_last_data_recv, info.tcpi_last_data_sent);
  }
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now() - connection.since)
      .count();
}

void Connections::EndIdlestOfMost() {
  const auto most = std::max_element(
      wanted_of_.begin(), wanted_of_.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  if (most == wanted_of_.end()) return;
  Connection* idlest = nullptr;
  int64_t longest = -1;
  for (auto& [fd, connection] : open_) {
    if (connection.is_ending || connection.address != most->first) continue;
    const int64_t silent = SilentFor(connection);
    if (silent > longest) {
      longest = silent;
      idlest = &connection;
    }
  }
  End(*idlest);
}

void Connections::End(Connection& connection) {
  shutdown(connection.duplicate.get(), SHUT_RDWR);
  Forget(connection);
}

void Connections::EndFor(Connection& connection, const std::string& why) {
  // Reset when it is closed: a client that does not read would else keep what
  // was to be sent to it, and a place of the system's, for a minute.
  constexpr linger kReset{/*l_onoff=*/1, /*l_linger=*/0};
  setsockopt(connection.duplicate.get(), SOL_SOCKET, SO_LINGER, &kReset,
             sizeof(kReset));
  End(connection);
  const rpc::LineLimit::Verdict verdict = endings_->Ask();
  if (!verdict.write) return;
  spdlog::warn("ended the connection of {}: {}{}", connection.peer, why,
               verdict.left_out == 0 ? ""
                                     : absl::StrCat(" (and ", verdict.left_out,
                                                    " others before it)"));
}

std::string Connections::Fault(const Incoming& incoming,
                               Clock::time_point now) const {
  if (incoming.unseen() > limits_.arriving_bytes) {
    return absl::StrCat("it has sent ", incoming.unseen(),
                        " bytes that belong to no complete call, over the "
                        "limit of ",
                        limits_.arriving_bytes,
                        " that --max-arriving-bytes sets");
  }
  if (incoming.StuckFor(now) > limits_.receive_idle) {
    return absl::StrCat("it has sent ", incoming.unseen(),
                        " bytes of a message or header that does not go on in "
                        "the time that --receive-idle sets");
  }
  if (incoming.broken_calls() > limits_.broken_calls) {
    return absl::StrCat(incoming.broken_calls(),
                        " of its calls have ended within a second before their "
                        "message had come, over the limit of ",
                        limits_.broken_calls, " that --max-broken-calls sets");
  }
  return "";
}

void Connections::Watch(Clock::time_point now) {
  const auto look = [&](Connection& connection) {
    if (connection.is_ending || !connection.incoming) return;
    connection.incoming->Look(connection.duplicate.get(), now);
    const std::string fault = Fault(*connection.incoming, now);
    if (!fault.empty()) EndFor(connection, fault);
  };
  for (auto& [fd, connection] : open_) {
    if (connection.incoming && connection.incoming->unseen() > kMuch) {
      look(connection);
    }
  }
  auto turn = open_.upper_bound(looked_at_);
  for (size_t i = 0; i < std::min(kLooksAtATime, open_.size()); ++i) {
    if (turn == open_.end()) turn = open_.begin();
    looked_at_ = turn->first;
    look(turn->second);
    ++turn;
  }
  for (int64_t excess = Excess(); excess > 0;) {
    const int64_t ended = EndLargest();
    if (ended == 0) break;
    excess -= ended;
  }
}

int64_t Connections::Excess() const {
  // Of what is never lent half is left, to what the ledger does not know of.
  const int64_t most_allocated = ledger_.limit() - ledger_.limit() / 16;
  return std::max(
      {ledger_.held() - ledger_.lendable(),
       ledger_.held(memory::Kind::kArriving) -
           ledger_.limit() / 8 * kArrivingEighths,
       memory::AllocatedBytes() - allocated_at_start_ - most_allocated});
}

int64_t Connections::EndLargest() {
  Connection* largest = nullptr;
  int64_t most = Incoming::kHalfSent - 1;
  for (auto& [fd, connection] : open_) {
    if (connection.is_ending || !connection.incoming) continue;
    const int64_t bytes = connection.incoming->may_hold();
    if (bytes <= most) continue;
    largest = &connection;
    most = bytes;
  }
  if (largest == nullptr) return 0;
  EndFor(*largest,
         absl::StrCat("it has sent ", most,
                      " bytes that belong to no complete call, more than any "
                      "other, and --memory-limit leaves no room for as many as "
                      "there are"));
  return most;
}

}  // namespace attention::server
