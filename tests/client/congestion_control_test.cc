// What TCP does to the sockets of this process, both ends of which are here.
#include "sockets/congestion_control.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "attention/client.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

// Empty if `fd` is no TCP socket.
std::string CongestionControlOf(int fd) {
  std::array<char, 16> name{};
  socklen_t size = name.size();
  return getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name.data(), &size) == 0
             ? name.data()
             : "";
}

std::string Default() {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  std::string name = CongestionControlOf(fd);
  close(fd);
  return name;
}

// That of every TCP connection this process is an end of.
std::vector<std::string> OfConnections() {
  std::vector<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/self/fd")) {
    const int fd = std::stoi(entry.path().filename());
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0) {
      continue;
    }
    std::string name = CongestionControlOf(fd);
    if (!name.empty()) names.push_back(std::move(name));
  }
  return names;
}

// The two ends of one connection that both ask for this.
std::vector<std::string> OfAConnectionWith(const std::string& name) {
  // A server is polled by gRPC itself if it has something to call back.
  grpc::CallbackGenericService service;
  grpc::ServerBuilder builder;
  builder.RegisterCallbackGenericService(&service);
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                           &port);
  builder.SetOption(sockets::WithCongestionControl(name));
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  grpc::ChannelArguments arguments;
  sockets::UseCongestionControl(name, arguments);
  const auto channel =
      grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port),
                                grpc::InsecureChannelCredentials(), arguments);
  EXPECT_TRUE(channel->WaitForConnected(std::chrono::system_clock::now() +
                                        std::chrono::seconds(60)));
  return OfConnections();
}

TEST(CongestionControl, IsThatOfBothEndsOfAConnection) {
  // Kernels are rarely without either.
  const std::string name = Default() == "reno" ? "cubic" : "reno";
  EXPECT_EQ(OfAConnectionWith(name), (std::vector<std::string>{name, name}));
}

TEST(CongestionControl, OfAnUnknownNameIsTheDefault) {
  EXPECT_EQ(OfAConnectionWith("no such thing"),
            (std::vector<std::string>{Default(), Default()}));
}

TEST(CongestionControl, OfServerAndClientOnThisMachineIsNotPaced) {
  const TestServer server;
  const client::Client client(server.target());
  ASSERT_TRUE(client.GetServerInfo().ok());
  // Both ends, and the duplicate by which the server watches its own.
  EXPECT_EQ(OfConnections(),
            std::vector<std::string>(3, sockets::kLoopbackCongestionControl));
}

}  // namespace
}  // namespace attention
