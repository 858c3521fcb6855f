#include "server/rpc/tensors/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/support/service_fixture.h"

namespace attention::rpc {
namespace {

using std::chrono::milliseconds;

constexpr int64_t kLarge = int64_t{1} << 20;
constexpr milliseconds kLong(1'000'000);

class BufferPoolTest : public ::testing::Test {
 protected:
  memory::Ledger ledger_{int64_t{1} << 30};
};

TEST_F(BufferPoolTest, MemoryIsAlignedAndWritableAtAnySize) {
  BufferPool pool(int64_t{64} << 20, ledger_, kLong);
  for (const int64_t size : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{65},
                             kLarge / 8 - 1, kLarge / 8, kLarge / 8 + 1,
                             kLarge - 1, kLarge, kLarge + 1, 5 * kLarge}) {
    const Buffer buffer = pool.Take(size);
    ASSERT_NE(buffer.data(), nullptr);
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0U) << size;
    std::memset(buffer.data(), 7, static_cast<size_t>(size));
  }
}

TEST_F(BufferPoolTest, LargeBufferIsUsedAgain) {
  BufferPool pool(int64_t{64} << 20, ledger_, kLong);
  const char* first = nullptr;
  {
    const Buffer buffer = pool.Take(kLarge);
    first = buffer.data();
    EXPECT_EQ(pool.idle_bytes(), 0);
  }
  EXPECT_EQ(pool.idle_bytes(), kLarge);
  const Buffer again = pool.Take(kLarge - 1000);
  EXPECT_EQ(again.data(), first);
  EXPECT_EQ(pool.idle_bytes(), 0);
  // Whoever comes meanwhile gets other memory.
  EXPECT_NE(pool.Take(kLarge).data(), first);
}

TEST_F(BufferPoolTest, NeverKeepsMoreThanItsBound) {
  BufferPool pool(2 * kLarge, ledger_, kLong);
  std::vector<Buffer> buffers;
  buffers.reserve(5);
  for (int i = 0; i < 5; ++i) buffers.push_back(pool.Take(kLarge));
  buffers.clear();
  EXPECT_EQ(pool.idle_bytes(), 2 * kLarge);
  pool.Take(4 * kLarge);
  EXPECT_EQ(pool.idle_bytes(), 2 * kLarge);
}

TEST_F(BufferPoolTest, IdleMemoryGoesBackToTheSystem) {
  BufferPool pool(int64_t{64} << 20, ledger_, milliseconds(20));
  pool.Take(kLarge);
  EXPECT_EQ(pool.idle_bytes(), kLarge);
  EXPECT_TRUE(WaitUntil([&] { return pool.idle_bytes() == 0; }));
  // And again, after the cleaner has slept.
  pool.Take(kLarge);
  EXPECT_TRUE(WaitUntil([&] { return pool.idle_bytes() == 0; }));
}

TEST_F(BufferPoolTest, BufferMayOutliveThePool) {
  auto pool = std::make_unique<BufferPool>(int64_t{64} << 20, ledger_, kLong);
  Buffer buffer = pool->Take(kLarge);
  pool.reset();
  std::memset(buffer.data(), 7, kLarge);
}

TEST_F(BufferPoolTest, MovedBufferHasOneOwner) {
  BufferPool pool(int64_t{64} << 20, ledger_, kLong);
  Buffer first = pool.Take(kLarge);
  const char* const data = first.data();
  Buffer second = std::move(first);
  EXPECT_EQ(second.data(), data);
  second = pool.Take(1);
  first = Buffer();
  EXPECT_EQ(pool.idle_bytes(), kLarge);
}

TEST_F(BufferPoolTest, AmountThatNobodyHasIsBadAlloc) {
  BufferPool pool(int64_t{64} << 20, ledger_, kLong);
  EXPECT_THROW(pool.Take(int64_t{1} << 60), std::bad_alloc);
}

TEST_F(BufferPoolTest, ManyThreadsShareIt) {
  BufferPool pool(4 * kLarge, ledger_, milliseconds(1));
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&pool, thread] {
      for (int i = 0; i < 200; ++i) {
        const Buffer buffer = pool.Take(kLarge / 4 * (1 + i % 5));
        const auto size = static_cast<size_t>(buffer.size());
        buffer.data()[0] = static_cast<char>(thread);
        buffer.data()[size - 1] = static_cast<char>(thread);
        std::this_thread::yield();
        ASSERT_EQ(buffer.data()[0], static_cast<char>(thread));
        ASSERT_EQ(buffer.data()[size - 1], static_cast<char>(thread));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(pool.idle_bytes(), 4 * kLarge);
}

}  // namespace
}  // namespace attention::rpc
