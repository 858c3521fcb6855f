#include "server/core/pool/brief_lock.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace attention::core {
namespace {

TEST(BriefLockTest, HoldsTheMutexUntilItEnds) {
  std::mutex mutex;
  {
    const auto lock = BriefLock(mutex);
    EXPECT_TRUE(lock.owns_lock());
    std::thread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
  }
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(BriefLockTest, OnlyOneAtATime) {
  constexpr int kThreads = 4;
  constexpr int kTimes = 20000;
  std::mutex mutex;
  int count = 0;
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int time = 0; time < kTimes; ++time) {
        const auto lock = BriefLock(mutex);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, kThreads * kTimes);
}

TEST(BriefLockTest, WaitsForOneThatIsHeldLong) {
  std::mutex mutex;
  bool done = false;
  auto held = BriefLock(mutex);
  std::thread waiting([&] {
    const auto lock = BriefLock(mutex);
    EXPECT_TRUE(done);
  });
  // Long after it has stopped looking.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  done = true;
  held.unlock();
  waiting.join();
}

}  // namespace
}  // namespace attention::core
