#include "server/shutdown.h"

#include <gmock/gmock.h>
#include <grpcpp/channel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention::server {
namespace {

using std::chrono::milliseconds;

constexpr std::chrono::hours kForEver(1);

v1::ComputeAttentionRequest SmallRequest() {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({1, 1});
  return request;
}

// One connection with a client on it.
struct Client {
  explicit Client(const TestServer& server)
      : channel(SocketTo(server)), client(channel) {}
  // A call that takes a place among those in flight.
  grpc::StatusCode Ask() {
    v1::ComputeAttentionResponse reply;
    return client.Compute(SmallRequest(), &reply).error_code();
  }
  std::shared_ptr<grpc::Channel> channel;
  TestClient client;
};

// No signal comes; `look` is called in its place, each time one is waited for.
Signalled NoSignal(std::function<void(int look)> look) {
  return [look = std::move(look), count = 0](milliseconds) mutable {
    look(count++);
    return false;
  };
}

TEST(ShutDown, EverythingIsServedUntilTheLastConnectionHasLeft) {
  LogLines log;
  TestServer server;
  auto client = std::make_unique<Client>(server);
  ASSERT_EQ(client->Ask(), grpc::StatusCode::OK);
  std::vector<grpc::StatusCode> codes;
  ShutDown({kForEver, kForEver}, NoSignal([&](int look) {
             if (look < 5) codes.push_back(client->Ask());
             // Silent for longer than a moment, it is waited for all the same.
             if (look == 5) std::this_thread::sleep_for(milliseconds(300));
             if (look == 6) codes.push_back(client->Ask());
             if (look == 7) client.reset();
           }),
           server.server());
  EXPECT_THAT(codes, testing::SizeIs(6));
  EXPECT_THAT(codes, testing::Each(grpc::StatusCode::OK));
  EXPECT_THAT(log.With("every connection has left"), testing::SizeIs(1));
}

TEST(ShutDown, HealthSaysNotServingWhileItDrains) {
  TestServer server;
  auto client = std::make_unique<Client>(server);
  const auto health = [&] {
    std::string reply;
    EXPECT_TRUE(
        RawCall(client->channel, "/grpc.health.v1.Health/Check", "", &reply)
            .ok());
    return reply;
  };
  EXPECT_EQ(health(), "\x08\x01");  // SERVING
  std::string told;
  ShutDown({kForEver, kForEver}, NoSignal([&](int look) {
             if (look == 0) told = health();
             if (look == 0) client.reset();
           }),
           server.server());
  EXPECT_EQ(told, "\x08\x02");  // NOT_SERVING
}

TEST(ShutDown, ConnectionsThatStayAreNotWaitedForBeyondTheDelay) {
  LogLines log;
  TestServer server;
  Client client(server);
  ASSERT_EQ(client.Ask(), grpc::StatusCode::OK);
  ShutDown({milliseconds(1), kForEver}, NoSignal([](int) {}), server.server());
  EXPECT_THAT(log.With("--drain-delay is over: 1 connections remain"),
              testing::SizeIs(1));
}

TEST(ShutDown, AnotherSignalEndsTheWaitingForConnections) {
  TestServer server;
  auto client = std::make_unique<Client>(server);
  ASSERT_EQ(client->Ask(), grpc::StatusCode::OK);
  int looks = 0;
  ShutDown(
      {kForEver, kForEver},
      [&](milliseconds) {
        if (++looks == 100) client.reset();  // it does not end otherwise
        return looks == 3;
      },
      server.server());
  EXPECT_EQ(looks, 3);
}

TEST(ShutDown, AnotherSignalEndsTheWaitingForCalls) {
  LogLines log;
  TestServer server;
  Client client(server);
  TestStream stream(client.channel);
  ASSERT_TRUE(stream.Send(1, SmallRequest()));
  ASSERT_TRUE(stream.Receive());
  int looks = 0;
  ShutDown(
      {{}, std::chrono::seconds(20)},
      [&](milliseconds) { return ++looks == 3; }, server.server());
  EXPECT_EQ(looks, 3);
  EXPECT_THAT(log.With("told to stop again"), testing::SizeIs(1));
}

TEST(ShutDown, ACallThatIsOpenKeepsTheDoorOpenForHalfOfTheGrace) {
  TestServer server;
  Client client(server);
  TestStream stream(client.channel);
  ASSERT_TRUE(stream.Send(1, SmallRequest()));
  ASSERT_TRUE(stream.Receive());
  std::vector<grpc::StatusCode> codes;
  ShutDown({{}, kForEver}, NoSignal([&](int look) {
             if (look < 5) codes.push_back(client.Ask());
             if (look == 5) std::this_thread::sleep_for(milliseconds(300));
             if (look == 6) codes.push_back(client.Ask());
             if (look == 7) stream.Cancel();
           }),
           server.server());
  EXPECT_THAT(codes, testing::SizeIs(6));
  EXPECT_THAT(codes, testing::Each(grpc::StatusCode::OK));
}

}  // namespace
}  // namespace attention::server
