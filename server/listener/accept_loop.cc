#include "server/listener/accept_loop.h"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace attention::server {
namespace {

// For how long nothing is accepted when descriptors have run out: not long for
// who waits, and a hundred looks a second cost next to nothing.
constexpr int kPauseMilliseconds = 10;

constexpr int kAtOnce = 64;

// How often it looks at what is arriving; on a fast network some 50 MB come in
// this time, and in a flood it is looked at ten times as often.
constexpr int kWatchMilliseconds = 50;
constexpr int kFloodMilliseconds = 5;

bool IsOutOfSomething(int error) {
  return error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM;
}

}  // namespace

AcceptLoop::AcceptLoop(std::vector<ListeningSocket> sockets,
                       int64_t max_connections, Connections connections,
                       HandOver hand_over)
    : sockets_(std::move(sockets)),
      max_connections_(static_cast<size_t>(max_connections)),
      hand_over_(std::move(hand_over)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      connections_(std::move(connections)),
      left_to_empty_(ListeningSocket::kBacklog *
                     static_cast<int>(sockets_.size())) {
  Watch(EPOLL_CTL_ADD, event_.get(), EPOLLIN);
  for (const ListeningSocket& socket : sockets_) {
    Watch(EPOLL_CTL_ADD, socket.fd(), EPOLLIN);
  }
  thread_ = std::thread([this] { Run(); });
}

AcceptLoop::~AcceptLoop() { Stop(); }

void AcceptLoop::Enter(Stage stage) {
  stage_ = stage;
  const uint64_t one = 1;
  static_cast<void>(write(event_.get(), &one, sizeof(one)));
}

void AcceptLoop::StopAccepting() { Enter(Stage::kClosing); }

void AcceptLoop::Stop() {
  if (!thread_.joinable()) return;
  Enter(Stage::kEnding);
  thread_.join();
}

void AcceptLoop::Watch(int how, int fd, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  epoll_ctl(epoll_.get(), how, fd, &event);
}

int AcceptLoop::MillisecondsToWait() const {
  if (paused_) return kPauseMilliseconds;
  if (connections_.size() == 0) return -1;
  return connections_.is_flooded() ? kFloodMilliseconds : kWatchMilliseconds;
}

void AcceptLoop::WatchArriving() {
  const auto now = std::chrono::steady_clock::now();
  const int pause =
      connections_.is_flooded() ? kFloodMilliseconds : kWatchMilliseconds;
  if (now - watched_ < std::chrono::milliseconds(pause)) return;
  connections_.Watch(now);
  watched_ = now;
}

void AcceptLoop::Run() {
  std::array<epoll_event, 64> events;
  while (true) {
    const int count =
        epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                   MillisecondsToWait());
    WatchArriving();
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<size_t>(i)].data.fd;
      const auto socket = std::find_if(
          sockets_.begin(), sockets_.end(),
          [fd](const ListeningSocket& one) { return one.fd() == fd; });
      if (fd == event_.get()) {
        uint64_t times = 0;
        static_cast<void>(read(fd, &times, sizeof(times)));
      } else if (socket != sockets_.end()) {
        AcceptFrom(*socket, kAtOnce);
      } else {
        // Shut down at both ends. What is watched is the connection, which gRPC
        // may still hold, and not the duplicate: closing that does not end it.
        epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
        connections_.Remove(fd);
        open_ = connections_.size();
      }
    }
    const bool was_paused = std::exchange(paused_, false);
    const Stage stage = stage_;
    if (stage != Stage::kAccepting) EmptyBacklogs();
    if (stage == Stage::kEnding) {
      Close();
      return;
    }
    if (was_paused && !paused_) {
      for (const ListeningSocket& socket : sockets_) {
        Watch(EPOLL_CTL_MOD, socket.fd(), EPOLLIN);
      }
    }
  }
}

void AcceptLoop::EmptyBacklogs() {
  for (const ListeningSocket& socket : sockets_) {
    while (left_to_empty_ > 0 && AcceptOne(socket)) --left_to_empty_;
  }
  if (!paused_) Close();
}

void AcceptLoop::Close() {
  sockets_.clear();
  is_listening_ = false;
}

Descriptor AcceptLoop::OneToSpare() const {
  const auto another = [this] {
    return Descriptor(fcntl(epoll_.get(), F_DUPFD_CLOEXEC, 0));
  };
  // To take those that are to be left is the only way to know them there.
  std::array<Descriptor, kDescriptorsLeft> left;
  for (Descriptor& one : left) one = another();
  return another();
}

void AcceptLoop::AcceptFrom(const ListeningSocket& socket, int most) {
  while (most > 0 && AcceptOne(socket)) --most;
}

bool AcceptLoop::AcceptOne(const ListeningSocket& socket) {
  // The duplicate's place is taken first, so that no connection is accepted
  // that cannot be watched.
  Descriptor duplicate = OneToSpare();
  if (!duplicate.is_open()) {
    Pause();
    return false;
  }
  Descriptor connection(
      accept4(socket.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection.is_open()) {
    const int error = errno;
    if (IsOutOfSomething(error)) {
      Pause();
      return false;
    }
    return error != EAGAIN;  // else it is about one that has ended already
  }
  dup3(connection.get(), duplicate.get(), O_CLOEXEC);
  if (connections_.wanted() >= max_connections_) MakeRoom();
  Watch(EPOLL_CTL_ADD, duplicate.get(), 0);  // a hang-up is told in any case
  connections_.Add(std::move(duplicate));
  open_ = connections_.size();
  hand_over_(socket, std::move(connection));
  return true;
}

void AcceptLoop::MakeRoom() {
  connections_.EndIdlestOfMost();
  ++closed_for_others_;
  const rpc::LineLimit::Verdict verdict = closings_.Ask();
  if (!verdict.write) return;
  spdlog::warn(
      "--max-connections {} were open and others came: closed {}, each the "
      "longest silent one of the address with most",
      max_connections_, verdict.left_out + 1);
}

void AcceptLoop::Pause() {
  paused_ = true;
  for (const ListeningSocket& socket : sockets_) {
    Watch(EPOLL_CTL_MOD, socket.fd(), 0);
  }
  if (!pauses_.Ask().write) return;
  spdlog::warn(
      "out of file descriptors with {} connections open: new ones wait; raise "
      "the limit of open files, or lower --max-connections",
      connections_.size());
}

}  // namespace attention::server
