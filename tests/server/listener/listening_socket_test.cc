#include "server/listener/listening_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/scratch_folder.h"

namespace attention::server {
namespace {

using testing::HasSubstr;

ListenAddress Tcp(const std::string& host, int port) {
  return {host, port, ""};
}
ListenAddress Unix(const std::string& path) { return {"", 0, path}; }

bool CanConnect(const std::string& path) {
  sockaddr_un where{};
  where.sun_family = AF_UNIX;
  std::memcpy(where.sun_path, path.data(), path.size());
  const Descriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&where),
                 sizeof(where)) == 0;
}

std::string CongestionControlOf(int fd) {
  char name[16] = "";
  socklen_t length = sizeof(name);
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
  return name;
}

TEST(ListenAddressTest, KnowsUnixSockets) {
  const auto address = ParseListenAddress("unix:/run/attention");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->path, "/run/attention");
  EXPECT_TRUE(address->is_unix());
  EXPECT_TRUE(address->loopback());
  EXPECT_THAT(std::string(ParseListenAddress("unix:").status().message()),
              HasSubstr("it has no path"));
  EXPECT_THAT(std::string(ParseListenAddress("unix:" + std::string(108, 'a'))
                              .status()
                              .message()),
              HasSubstr("the path has 108 bytes and at most 107 may"));
  EXPECT_TRUE(ParseListenAddress("unix:" + std::string(107, 'a')).ok());
}

TEST(ListenTest, APortIsPickedAndNobodyElseGetsIt) {
  const auto first = Listen(Tcp("127.0.0.1", 0));
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_EQ(first->size(), 1u);
  EXPECT_GT(first->front().port(), 0);
  const auto second = Listen(Tcp("127.0.0.1", first->front().port()));
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()),
              HasSubstr("another process listens there"));
}

TEST(ListenTest, AllThatANameStandsForHasOnePort) {
  const auto sockets = Listen(Tcp("localhost", 0));
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  for (const ListeningSocket& socket : *sockets) {
    EXPECT_EQ(socket.port(), sockets->front().port());
  }
}

TEST(ListenTest, ConnectionsAreSentWithoutDelayAndPacedAsTheMachineSays) {
  const auto sockets = Listen(Tcp("127.0.0.1", 0));
  ASSERT_TRUE(sockets.ok()) << sockets.status();
  int on = 0;
  socklen_t length = sizeof(on);
  getsockopt(sockets->front().fd(), IPPROTO_TCP, TCP_NODELAY, &on, &length);
  EXPECT_EQ(on, 1);
  const Descriptor untouched(socket(AF_INET, SOCK_STREAM, 0));
  EXPECT_EQ(CongestionControlOf(sockets->front().fd()),
            CongestionControlOf(untouched.get()));
}

TEST(ListenTest, WhatCannotBeListenedOnIsTold) {
  EXPECT_EQ(Listen(Tcp("no.such.host.invalid", 0)).status().code(),
            absl::StatusCode::kInvalidArgument);
  // Of documentation (RFC 5737): no machine has it.
  EXPECT_EQ(Listen(Tcp("192.0.2.1", 0)).status().code(),
            absl::StatusCode::kUnavailable);
}

TEST(ListenTest, AUnixSocketIsItsOwnersAlone) {
  const ScratchFolder folder;
  const std::string path = folder / "socket";
  {
    const auto sockets = Listen(Unix(path));
    ASSERT_TRUE(sockets.ok()) << sockets.status();
    struct stat file {};
    ASSERT_EQ(stat(path.c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 07777, 0600u);
    EXPECT_TRUE(sockets->front().is_unix());
    EXPECT_TRUE(CanConnect(path));
    EXPECT_EQ(Listen(Unix(path)).status().code(),
              absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(CanConnect(path)) << "the first one's is still there";
  }
  struct stat file {};
  EXPECT_NE(stat(path.c_str(), &file), 0) << "it is removed in the end";
}

TEST(ListenTest, AUnixSocketWhoseProcessHasEndedIsReplaced) {
  const ScratchFolder folder;
  const std::string path = folder / "socket";
  {
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    std::memcpy(where.sun_path, path.data(), path.size());
    const Descriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&where),
                   sizeof(where)),
              0);
  }
  EXPECT_TRUE(Listen(Unix(path)).ok());
}

TEST(ListenTest, AFileThatIsNoSocketStays) {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  std::ofstream(path) << "precious";
  const absl::Status status = Listen(Unix(path)).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no socket"));
  std::string kept;
  std::ifstream(path) >> kept;
  EXPECT_EQ(kept, "precious");
}

}  // namespace
}  // namespace attention::server
