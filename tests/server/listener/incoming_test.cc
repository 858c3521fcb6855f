#include "server/listener/incoming.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "server/listener/descriptor.h"

namespace attention::server {
namespace {

using std::chrono::seconds;

// Both ends of a connection over the loopback.
class IncomingTest : public ::testing::Test {
 protected:
  IncomingTest() {
    const Descriptor listening(socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof(address);
    EXPECT_EQ(bind(listening.get(), any, length), 0);
    EXPECT_EQ(listen(listening.get(), 1), 0);
    EXPECT_EQ(getsockname(listening.get(), any, &length), 0);
    client_ = Descriptor(socket(AF_INET, SOCK_STREAM, 0));
    EXPECT_EQ(connect(client_.get(), any, length), 0);
    server_ = Descriptor(accept(listening.get(), nullptr, nullptr));
  }

  // The client sends, the server's end reads all of it.
  void Send(int64_t bytes) {
    std::string piece(size_t{16} << 10, 'x');
    for (int64_t left = bytes; left > 0;) {
      const auto count = static_cast<size_t>(
          std::min(left, static_cast<int64_t>(piece.size())));
      ASSERT_EQ(write(client_.get(), piece.data(), count),
                static_cast<ssize_t>(count));
      left -= static_cast<int64_t>(count);
      for (size_t got = 0; got < count;) {
        const ssize_t now = read(server_.get(), piece.data(), count - got);
        ASSERT_GT(now, 0);
        got += static_cast<size_t>(now);
      }
    }
  }
  void Look() { incoming_.Look(server_.get(), now_); }

  memory::Ledger ledger_{int64_t{1} << 30};
  const std::shared_ptr<rpc::Arrival> arrival_ =
      std::make_shared<rpc::Arrival>();
  Incoming::Clock::time_point now_ = Incoming::Clock::now();
  Incoming incoming_{arrival_, ledger_, now_};
  Descriptor client_;
  Descriptor server_;
};

constexpr int64_t kMiB = int64_t{1} << 20;

TEST_F(IncomingTest, WhatReachedNoCallIsInTheLedgerUntilItDoes) {
  Send(2 * kMiB);
  Look();
  EXPECT_EQ(incoming_.unseen(), 2 * kMiB);
  EXPECT_EQ(ledger_.held(memory::Kind::kArriving),
            2 * kMiB - Incoming::kNotCharged);
  arrival_->OnMessage(2 * kMiB);
  Look();
  EXPECT_EQ(incoming_.unseen(), 0);
  EXPECT_EQ(ledger_.held(), 0);
}

TEST_F(IncomingTest, WhatItHoldsIsGivenBackWithIt) {
  {
    Incoming other(arrival_, ledger_, now_);
    Send(kMiB);
    other.Look(server_.get(), now_);
    EXPECT_GT(ledger_.held(), 0);
  }
  EXPECT_EQ(ledger_.held(), 0);
}

TEST_F(IncomingTest, BoundsOfFramingAreNoCreditToHideBehind) {
  // Calls that are counted with more than they took.
  for (int i = 0; i < 10'000; ++i) arrival_->OnCall(1000);
  Send(1000);
  Look();
  EXPECT_EQ(incoming_.unseen(), 0);
  Send(kMiB);
  Look();
  EXPECT_EQ(incoming_.unseen(), kMiB);
  // Nor is time in which nothing came.
  now_ += seconds(1'000'000);
  Look();
  Send(kMiB);
  Look();
  EXPECT_GE(incoming_.unseen(), kMiB);
}

TEST_F(IncomingTest, PingsOfAnIdleConnectionAreAccountedFor) {
  constexpr int64_t kPing = 17 + 29;
  for (int i = 0; i < 10'000; ++i) {
    Send(kPing);
    now_ += seconds(1);
    Look();
  }
  EXPECT_EQ(incoming_.unseen(), 0);
}

TEST_F(IncomingTest, StandsStillOnlyWhileSomethingIsHalfSent) {
  Send(Incoming::kHalfSent - 1);
  Look();
  now_ += seconds(9);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(0));
  Send(Incoming::kMoved);
  Look();
  now_ += seconds(9);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(9));
  // A trickle is no progress.
  Send(Incoming::kMoved - 1);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(9));
  Send(1);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(0));
}

TEST_F(IncomingTest, TimeInWhichTheServerDoesNotReadDoesNotCount) {
  Send(kMiB);
  Look();
  rpc::Withholding withholding;
  withholding.Set(arrival_, true);
  now_ += seconds(9);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(0));
  withholding.Set(arrival_, false);
  now_ += seconds(2);
  Look();
  EXPECT_EQ(incoming_.StuckFor(now_), seconds(2));
}

TEST_F(IncomingTest, WhatACallThatEndedEarlyBroughtIsGone) {
  Send(2 * kMiB);
  Look();
  arrival_->OnBroken();
  now_ += std::chrono::milliseconds(50);
  Look();
  EXPECT_EQ(incoming_.unseen(), 0);
  // But for what a connection may send in that time.
  EXPECT_NEAR(static_cast<double>(incoming_.may_hold()), 2.0 * kMiB, 64);
  EXPECT_EQ(ledger_.held(), 0);
  // Its client goes on for a moment, not for ever.
  Send(kMiB);
  Look();
  EXPECT_EQ(incoming_.unseen(), 0);
  now_ += 2 * Incoming::kAfterBreak;
  Send(kMiB);
  Look();
  EXPECT_GE(incoming_.unseen(), kMiB - 200);
}

TEST_F(IncomingTest, BrokenCallsAreThoseOfASecond) {
  for (int i = 0; i < 5; ++i) arrival_->OnBroken();
  Look();
  EXPECT_EQ(incoming_.broken_calls(), 5);
  now_ += seconds(1);
  Look();
  EXPECT_EQ(incoming_.broken_calls(), 0);
  arrival_->OnBroken();
  now_ += std::chrono::milliseconds(999);
  Look();
  EXPECT_EQ(incoming_.broken_calls(), 1);
}

TEST(Arrivals, AreFoundByTheirPeer) {
  rpc::Arrivals arrivals;
  const auto first = arrivals.Add("ipv4:127.0.0.1:7");
  EXPECT_EQ(arrivals.Find("ipv4:127.0.0.1:7"), first);
  EXPECT_EQ(arrivals.Find("ipv4:127.0.0.1:8"), nullptr);
  const auto linked = arrivals.Add("ipv6:%5Bfe80::1%5D:7");
  EXPECT_EQ(arrivals.Find("ipv6:%5Bfe80::1%252%5D:7"), linked);
  // Its port is another's before it is known to have ended.
  const auto second = arrivals.Add("ipv4:127.0.0.1:7");
  arrivals.Remove("ipv4:127.0.0.1:7", first.get());
  EXPECT_EQ(arrivals.Find("ipv4:127.0.0.1:7"), second);
  arrivals.Remove("ipv4:127.0.0.1:7", second.get());
  EXPECT_EQ(arrivals.Find("ipv4:127.0.0.1:7"), nullptr);
}

}  // namespace
}  // namespace attention::server
