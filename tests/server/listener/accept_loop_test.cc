#include "server/listener/accept_loop.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::server {
namespace {

std::vector<ListeningSocket> Loopback() {
  return *Listen({"127.0.0.1", 0, ""});
}

// Connections that may bring as much as they like.
Connections Unwatched() {
  static rpc::Arrivals arrivals;
  static memory::Ledger ledger(INT64_MAX);
  return {{INT64_MAX, std::chrono::hours(1), INT64_MAX}, arrivals, ledger};
}

sockaddr_in On(const char* host, int port) {
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host, &where.sin_addr);
  return where;
}

// A connection to 127.0.0.1; -1 if it is refused. `from` is an address of its
// own, as another machine would have.
Descriptor Connect(int port, const char* from = "127.0.0.1") {
  Descriptor fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = On(from, 0);
  const sockaddr_in where = On("127.0.0.1", port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&own), sizeof(own)) !=
          0 ||
      connect(fd.get(), reinterpret_cast<const sockaddr*>(&where),
              sizeof(where)) != 0) {
    return Descriptor();
  }
  return fd;
}

std::vector<Descriptor> Connect(int port, size_t count) {
  std::vector<Descriptor> clients(count);
  for (Descriptor& client : clients) client = Connect(port);
  return clients;
}

// Whether the other end has closed it, within `patience`.
bool IsClosed(const Descriptor& fd, std::chrono::milliseconds patience) {
  const timeval wait{patience.count() / 1000, patience.count() % 1000 * 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
  char byte = 0;
  return recv(fd.get(), &byte, 1, 0) == 0;
}
constexpr std::chrono::seconds kPatience(60);
constexpr std::chrono::milliseconds kMoment(50);

// Stands for gRPC: keeps what is handed over.
class Owner {
 public:
  AcceptLoop::HandOver Take() {
    return [this](const ListeningSocket&, Descriptor connection) {
      const std::lock_guard lock(mutex_);
      held_.push_back(std::move(connection));
    };
  }
  size_t count() const {
    const std::lock_guard lock(mutex_);
    return held_.size();
  }
  bool WaitFor(size_t count) const {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (this->count() < count) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  // As gRPC closes a connection: it shuts it down first.
  void CloseAll() {
    const std::lock_guard lock(mutex_);
    for (Descriptor& one : held_) shutdown(one.get(), SHUT_RDWR);
    held_.clear();
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Descriptor> held_;
};

int64_t OpenDescriptors() {
  int64_t count = 0;
  DIR* const folder = opendir("/proc/self/fd");
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count - 3;  // "." and "..", and the folder itself
}

// The loop itself has them for some microseconds when it counts them.
bool SomeAreLeft() {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!Descriptor(dup(STDOUT_FILENO)).is_open()) {
    if (std::chrono::steady_clock::now() > end) return false;
  }
  return true;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

TEST(AcceptLoopTest, ConnectionsAreHandedOverAndForgottenWhenTheyEnd) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  Owner owner;
  AcceptLoop loop(std::move(sockets), 10, Unwatched(), owner.Take());
  const int64_t before = OpenDescriptors();
  for (size_t i = 1; i <= 3; ++i) {
    const Descriptor client = Connect(port);
    ASSERT_TRUE(owner.WaitFor(i));
    ASSERT_FALSE(IsClosed(client, kMoment));
    if (i == 3) {
      owner.CloseAll();
      EXPECT_TRUE(IsClosed(client, kPatience));
    }
  }
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (OpenDescriptors() > before && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(OpenDescriptors(), before) << "no duplicate is left";
}

TEST(AcceptLoopTest, WhoHasMostLosesTheLongestSilentOne) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  Owner owner;
  AcceptLoop loop(std::move(sockets), 4, Unwatched(), owner.Take());
  std::vector<Descriptor> many;
  const Descriptor early = Connect(port, "127.0.0.2");
  ASSERT_TRUE(owner.WaitFor(1));
  for (size_t i = 0; i < 3; ++i) {
    many.push_back(Connect(port));
    ASSERT_TRUE(owner.WaitFor(i + 2));
    std::this_thread::sleep_for(kMoment);
  }
  ASSERT_EQ(send(many[0].get(), "x", 1, 0), 1);  // silent no more
  std::this_thread::sleep_for(kMoment);
  const Descriptor one_more = Connect(port, "127.0.0.3");
  ASSERT_TRUE(owner.WaitFor(5));
  EXPECT_TRUE(IsClosed(many[1], kPatience));
  EXPECT_FALSE(IsClosed(many[0], kMoment));
  EXPECT_FALSE(IsClosed(many[2], kMoment));
  EXPECT_FALSE(IsClosed(early, kMoment)) << "of an address that has few";
  EXPECT_FALSE(IsClosed(one_more, kMoment));
}

TEST(AcceptLoopTest, WithoutDescriptorsConnectionsWaitAndAreNotLost) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  constexpr size_t kClients = 20;
  const std::vector<Descriptor> clients = Connect(port, kClients);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit few = limit;
  // Epoll and event, three connections, and what is never taken.
  few.rlim_cur = static_cast<rlim_t>(
      OpenDescriptors() + 2 + 3 * AcceptLoop::kDescriptorsEach +
      static_cast<int64_t>(AcceptLoop::kDescriptorsLeft));
  setrlimit(RLIMIT_NOFILE, &few);
  Owner owner;
  AcceptLoop loop(std::move(sockets), 100, Unwatched(), owner.Take());
  EXPECT_TRUE(owner.WaitFor(3));
  std::this_thread::sleep_for(kMoment);
  EXPECT_LT(owner.count(), kClients);
  EXPECT_TRUE(SomeAreLeft());
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_TRUE(owner.WaitFor(kClients));
}

TEST(AcceptLoopTest, StoppingAcceptsWhoWaitsAndRefusesWhoComesLater) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  constexpr size_t kClients = 200;
  const std::vector<Descriptor> clients = Connect(port, kClients);
  Owner owner;
  AcceptLoop loop(std::move(sockets), 1000, Unwatched(), owner.Take());
  loop.Stop();
  EXPECT_EQ(owner.count(), kClients);
  EXPECT_FALSE(Connect(port).is_open());
}

TEST(AcceptLoopTest, WhenItListensNoMoreItStillKnowsWhoHasLeft) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  constexpr size_t kClients = 200;
  std::vector<Descriptor> clients = Connect(port, kClients);
  Owner owner;
  AcceptLoop loop(std::move(sockets), 1000, Unwatched(), owner.Take());
  EXPECT_TRUE(loop.is_listening());
  loop.StopAccepting();
  ASSERT_TRUE(WaitUntil([&] { return !loop.is_listening(); }));
  EXPECT_EQ(owner.count(), kClients) << "those that waited are accepted";
  EXPECT_EQ(loop.open(), kClients);
  EXPECT_FALSE(Connect(port).is_open());
  clients.clear();
  EXPECT_EQ(loop.open(), kClients) << "gRPC has not closed them yet";
  owner.CloseAll();
  EXPECT_TRUE(WaitUntil([&] { return loop.open() == 0; }));
}

TEST(AcceptLoopTest, WithoutDescriptorsTheBacklogIsEmptiedAsTheyComeBack) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  constexpr size_t kClients = 20;
  const std::vector<Descriptor> clients = Connect(port, kClients);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  rlimit few = limit;
  few.rlim_cur = static_cast<rlim_t>(
      OpenDescriptors() + 2 + 3 * AcceptLoop::kDescriptorsEach +
      static_cast<int64_t>(AcceptLoop::kDescriptorsLeft));
  setrlimit(RLIMIT_NOFILE, &few);
  Owner owner;
  AcceptLoop loop(std::move(sockets), 100, Unwatched(), owner.Take());
  EXPECT_TRUE(owner.WaitFor(3));
  loop.StopAccepting();
  std::this_thread::sleep_for(kMoment);
  EXPECT_LT(owner.count(), kClients);
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_TRUE(owner.WaitFor(kClients));
  EXPECT_TRUE(WaitUntil([&] { return !loop.is_listening(); }));
}

TEST(AcceptLoopTest, WhoHasLeftMakesRoom) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  Owner owner;
  AcceptLoop loop(std::move(sockets), 2, Unwatched(), owner.Take());
  for (size_t round = 1; round <= 5; ++round) {
    const std::vector<Descriptor> clients = Connect(port, 2);
    ASSERT_TRUE(owner.WaitFor(2));
    owner.CloseAll();
    ASSERT_TRUE(WaitUntil([&] { return loop.open() == 0; }));
  }
  EXPECT_EQ(loop.closed_for_others(), 0);
}

TEST(AcceptLoopTest, ThoseThatHadToGoAreCounted) {
  std::vector<ListeningSocket> sockets = Loopback();
  const int port = sockets.front().port();
  Owner owner;
  AcceptLoop loop(std::move(sockets), 2, Unwatched(), owner.Take());
  const std::vector<Descriptor> clients = Connect(port, 5);
  ASSERT_TRUE(owner.WaitFor(5));
  EXPECT_EQ(loop.closed_for_others(), 3);
}

}  // namespace
}  // namespace attention::server
