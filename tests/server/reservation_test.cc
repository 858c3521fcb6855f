#include "server/reservation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/scratch_folder.h"

namespace attention::server {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr char kVariable[] = "ATTENTION_SERVER_RESERVATION";

bool EndsWithExec(int fd) { return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

class ReservationTest : public testing::Test {
 protected:
  ReservationTest() {
    config_.listen = {"127.0.0.1:0", "unix:" + (folder_ / "socket")};
    for (const std::string& text : config_.listen) {
      config_.addresses.push_back(*ParseListenAddress(text));
    }
    config_.store_location.sqlite_path = folder_ / "weights.db";
  }
  ~ReservationTest() override { unsetenv(kVariable); }

  // As exec leaves it: nothing of this object ends, and its descriptors stay.
  static void Forget(Reservation reservation) {
    static auto* const forgotten = new std::vector<Reservation>;
    forgotten->push_back(std::move(reservation));
  }

  std::vector<int> NumbersOf(const Reservation& reservation) {
    std::vector<int> numbers = {reservation.store_lock->file()};
    for (const auto& sockets : reservation.sockets) {
      for (const ListeningSocket& socket : sockets) {
        numbers.push_back(socket.fd());
      }
    }
    return numbers;
  }

  const ScratchFolder folder_;
  Config config_;
};

TEST_F(ReservationTest, WhatIsHeldByAnotherIsNamed) {
  const auto first = Reserve(config_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status held = Reserve(config_).status();
  EXPECT_THAT(std::string(held.message()),
              StartsWith("--store sqlite:" + (folder_ / "weights.db") +
                         ": another server (process "));
  config_.store_location = {};
  const absl::Status taken = Reserve(config_).status();
  EXPECT_THAT(std::string(taken.message()),
              HasSubstr("cannot listen on unix:" + (folder_ / "socket") +
                        ": another process listens there"));
}

TEST_F(ReservationTest, NothingOfItIsForOtherProgramsUntilItIsLeft) {
  const auto reservation = Reserve(config_);
  ASSERT_TRUE(reservation.ok()) << reservation.status();
  for (const int fd : NumbersOf(*reservation)) EXPECT_TRUE(EndsWithExec(fd));
  LeaveToNextStart(*reservation);
  for (const int fd : NumbersOf(*reservation)) EXPECT_FALSE(EndsWithExec(fd));
}

TEST_F(ReservationTest, WhatIsLeftIsTakenOver) {
  auto before = Reserve(config_);
  ASSERT_TRUE(before.ok()) << before.status();
  const std::vector<int> numbers = NumbersOf(*before);
  const int port = before->sockets.front().front().port();
  LeaveToNextStart(*before);
  Forget(*std::move(before));
  auto after = Reserve(config_);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(NumbersOf(*after), numbers);
  EXPECT_EQ(after->sockets.front().front().port(), port);
  EXPECT_TRUE(after->sockets.back().front().is_unix());
  for (const int fd : numbers) EXPECT_TRUE(EndsWithExec(fd));
  EXPECT_EQ(std::getenv(kVariable), nullptr);
  EXPECT_FALSE(
      weights::FileLock::Acquire((folder_ / "weights.db") + ".lock").ok())
      << "the store is still locked";
  Forget(*std::move(after));
}

TEST_F(ReservationTest, WhatAnotherProcessLeftIsNotTaken) {
  const auto holder = Reserve(config_);
  ASSERT_TRUE(holder.ok()) << holder.status();
  LeaveToNextStart(*holder);
  const std::string left = std::getenv(kVariable);
  // As a program that the server started would have it.
  setenv(kVariable,
         absl::StrCat(getpid() + 1, left.substr(left.find(' '))).c_str(), 1);
  EXPECT_THAT(std::string(Reserve(config_).status().message()),
              HasSubstr("another server (process "));
  EXPECT_EQ(std::getenv(kVariable), nullptr);
}

TEST_F(ReservationTest, WhatIsNoSocketOrLockOfTheConfigIsNotTaken) {
  const auto other = Listen(*ParseListenAddress("127.0.0.1:0"));
  ASSERT_TRUE(other.ok()) << other.status();
  config_.store_location = {};
  config_.addresses.resize(1);
  for (const std::string& left :
       {std::string("-1 0"), std::string("-1 x"), std::string("-1"),
        std::string("0 ") + absl::StrCat(other->front().fd()),
        std::string("-1 99999"), std::string("-1 -1")}) {
    setenv(kVariable, absl::StrCat(getpid(), " ", left).c_str(), 1);
    const auto reservation = Reserve(config_);
    ASSERT_TRUE(reservation.ok()) << left << reservation.status();
    EXPECT_NE(reservation->sockets.front().front().fd(), other->front().fd())
        << left;
  }
  // Nor one that is bound to another port than the one that is asked for.
  const int port = other->front().port();
  config_.addresses.front().port = port == 65535 ? port - 1 : port + 1;
  EXPECT_FALSE(
      ListeningSocket::Adopt(other->front().fd(), config_.addresses.front()));
  EXPECT_FALSE(weights::FileLock::Adopt(0, folder_ / "weights.db").ok());
}

}  // namespace
}  // namespace attention::server
