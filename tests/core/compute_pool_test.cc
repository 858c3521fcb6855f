#include "server/core/pool/compute_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "server/core/pool/available_cpus.h"
#include "tests/support/scratch_folder.h"

namespace attention::core {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A gate that tasks wait at, so that tests decide the order of events.
class Gate {
 public:
  void Open() {
    const std::lock_guard<std::mutex> lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

Step CountingStep(int64_t tasks, std::atomic<int>& count) {
  return {tasks, [&count](int64_t, Workspace&) {
            ++count;
            return absl::OkStatus();
          }};
}

Step FailingStep(int64_t tasks, const std::vector<int64_t>& failing) {
  return {tasks, [failing](int64_t task, Workspace&) {
            for (const int64_t one : failing) {
              if (task == one) {
                return absl::InvalidArgumentError(std::to_string(task));
              }
            }
            return absl::OkStatus();
          }};
}

TEST(ComputePool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 4}) {
    ComputePool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<std::atomic<int>> runs(100);
    const absl::Status status = pool.Run({{100, [&](int64_t task, Workspace&) {
                                             ++runs[task];
                                             return absl::OkStatus();
                                           }}});
    EXPECT_TRUE(status.ok()) << status;
    for (const auto& count : runs) EXPECT_EQ(count, 1);
  }
}

TEST(ComputePool, StepStartsWhenEveryTaskOfTheOneBeforeIsDone) {
  ComputePool pool(4);
  std::atomic<int> first{0};
  std::atomic<int> seen_too_few{0};
  for (int round = 0; round < 50; ++round) {
    first = 0;
    const Step check{16, [&](int64_t, Workspace&) {
                       if (first != 16) ++seen_too_few;
                       return absl::OkStatus();
                     }};
    ASSERT_TRUE(pool.Run({CountingStep(16, first), check}).ok());
  }
  EXPECT_EQ(seen_too_few, 0);
}

TEST(ComputePool, StepWithoutTasksIsPassedOver) {
  ComputePool pool(2);
  std::atomic<int> count{0};
  EXPECT_TRUE(pool.Run({CountingStep(0, count), CountingStep(3, count),
                        CountingStep(0, count), CountingStep(0, count),
                        CountingStep(2, count), CountingStep(0, count)})
                  .ok());
  EXPECT_EQ(count, 5);
}

TEST(ComputePool, ComputationWithoutStepsIsDone) {
  ComputePool pool(1);
  EXPECT_TRUE(pool.Run({}).ok());
  std::atomic<int> count{0};
  EXPECT_TRUE(pool.Run({CountingStep(0, count)}).ok());
  EXPECT_EQ(count, 0);
}

TEST(ComputePool, ErrorIsThatOfTheFirstTaskWithAnyNumberOfThreads) {
  for (const int threads : {1, 2, 4}) {
    ComputePool pool(threads);
    for (int round = 0; round < 200; ++round) {
      const absl::Status status =
          pool.Run({FailingStep(64, {17, 18, 19, 20, 63})});
      ASSERT_EQ(status, absl::InvalidArgumentError("17"));
    }
  }
}

TEST(ComputePool, EarlierTaskThatFailsLaterStillDecidesTheError) {
  ComputePool pool(2);
  Gate second_failed;
  const absl::Status status =
      pool.Run({{2, [&](int64_t task, Workspace&) {
                   if (task == 0) {
                     second_failed.Wait();
                     return absl::InvalidArgumentError("first");
                   }
                   second_failed.Open();
                   return absl::InvalidArgumentError("second");
                 }}});
  EXPECT_EQ(status, absl::InvalidArgumentError("first"));
}

TEST(ComputePool, NoStepFollowsAnError) {
  ComputePool pool(2);
  std::atomic<int> count{0};
  EXPECT_FALSE(pool.Run({FailingStep(4, {3}), CountingStep(4, count)}).ok());
  EXPECT_EQ(count, 0);
}

TEST(ComputePool, LargeComputationDoesNotStarveASmallOne) {
  ComputePool pool(1);
  Gate submitted;
  std::atomic<int> large_tasks{0};
  std::atomic<int> large_tasks_before_small{-1};
  Gate large_done;
  pool.Submit({{1000,
                [&](int64_t task, Workspace&) {
                  if (task == 0) submitted.Wait();
                  ++large_tasks;
                  return absl::OkStatus();
                }}},
              nullptr, [&](const absl::Status&) { large_done.Open(); });
  Gate small_done;
  pool.Submit({{1,
                [&](int64_t, Workspace&) {
                  large_tasks_before_small = large_tasks.load();
                  return absl::OkStatus();
                }}},
              nullptr, [&](const absl::Status&) { small_done.Open(); });
  submitted.Open();
  small_done.Wait();
  large_done.Wait();
  // Task 0 was running and task 1 may have been queued before the small one.
  EXPECT_LE(large_tasks_before_small, 2);
  EXPECT_EQ(large_tasks, 1000);
}

TEST(ComputePool, BriefComputationsAreDoneOnceEach) {
  for (const int threads : {1, 2, 5}) {
    std::atomic<int> run{0};
    std::atomic<int> done{0};
    {
      ComputePool pool(threads);
      for (int i = 0; i < 1000; ++i) {
        pool.Submit(
            {CountingStep(1, run)}, nullptr,
            [&](const absl::Status& status) { done += status.ok(); },
            Length::kBrief);
      }
    }
    EXPECT_EQ(run, 1000);
    EXPECT_EQ(done, 1000);
  }
}

// A few may wait for it: nobody is woken for them.
TEST(ComputePool, ManyBriefComputationsDoNotWaitForOneThatTakesLong) {
  std::atomic<int> run{0};
  std::atomic<int> left{100};
  Gate nearly_all;
  {
    ComputePool pool(2);
    const Step waiting = {1, [&](int64_t, Workspace&) {
                            nearly_all.Wait();
                            return absl::OkStatus();
                          }};
    pool.Submit(
        {waiting}, nullptr, [](const absl::Status&) {}, Length::kBrief);
    for (int i = 0; i < 100; ++i) {
      pool.Submit(
          {CountingStep(1, run)}, nullptr,
          [&](const absl::Status&) {
            if (--left == 10) nearly_all.Open();
          },
          Length::kBrief);
    }
    nearly_all.Wait();
  }
  EXPECT_EQ(run, 100);
}

TEST(ComputePool, CancellationStopsBetweenTasks) {
  ComputePool pool(1);
  auto cancellation = std::make_shared<Cancellation>();
  std::atomic<int> count{0};
  const absl::Status status = pool.Run({{100,
                                         [&](int64_t task, Workspace&) {
                                           ++count;
                                           if (task == 4) {
                                             cancellation->Cancel();
                                           }
                                           return absl::OkStatus();
                                         }}},
                                       cancellation);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(count, 5);
}

TEST(ComputePool, DeadlineStopsBetweenTasks) {
  ComputePool pool(1);
  std::atomic<int> count{0};
  const auto passed = std::make_shared<Cancellation>(
      Cancellation::Clock::now() - std::chrono::seconds(1));
  EXPECT_EQ(pool.Run({CountingStep(3, count)}, passed).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(count, 0);
}

TEST(ComputePool, ExceptionsBecomeStatuses) {
  ComputePool pool(2);
  const auto throwing = [](auto make) {
    return Computation{
        {3, [make](int64_t, Workspace&) -> absl::Status { throw make(); }}};
  };
  EXPECT_EQ(pool.Run(throwing([] { return std::bad_alloc(); })).code(),
            absl::StatusCode::kResourceExhausted);
  const absl::Status logic =
      pool.Run(throwing([] { return std::logic_error("why"); }));
  EXPECT_EQ(logic.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(logic.message()), HasSubstr("why"));
  EXPECT_EQ(pool.Run(throwing([] { return 1; })).code(),
            absl::StatusCode::kInternal);
}

TEST(ComputePool, DestructorWaitsForEverythingSubmitted) {
  std::atomic<int> done{0};
  std::atomic<int> tasks{0};
  {
    ComputePool pool(2);
    for (int i = 0; i < 50; ++i) {
      pool.Submit({CountingStep(3, tasks), CountingStep(2, tasks)}, nullptr,
                  [&](const absl::Status& status) {
                    if (status.ok()) ++done;
                  });
    }
  }
  EXPECT_EQ(done, 50);
  EXPECT_EQ(tasks, 50 * 5);
}

TEST(ComputePool, DoneMaySubmitEvenWhileThePoolEnds) {
  std::atomic<int> tasks{0};
  {
    ComputePool pool(2);
    pool.Submit({CountingStep(1, tasks)}, nullptr, [&](const absl::Status&) {
      pool.Submit({CountingStep(7, tasks)}, nullptr,
                  [](const absl::Status&) {});
    });
  }
  EXPECT_EQ(tasks, 8);
}

TEST(ComputePool, WhatTheStepsHoldIsReleasedBeforeDone) {
  ComputePool pool(2);
  auto held = std::make_shared<int>(0);
  const std::weak_ptr<int> watch = held;
  Gate done;
  bool released = false;
  Computation computation{
      {2, [held](int64_t, Workspace&) { return absl::OkStatus(); }}};
  held.reset();
  pool.Submit(std::move(computation), nullptr, [&](const absl::Status&) {
    released = watch.expired();
    done.Open();
  });
  done.Wait();
  EXPECT_TRUE(released);
}

TEST(RunInline, RunsTasksInOrderAndStopsAtTheFirstError) {
  std::vector<int64_t> order;
  const Step record{3, [&](int64_t task, Workspace&) {
                      order.push_back(task);
                      return absl::OkStatus();
                    }};
  EXPECT_EQ(RunInline({record, FailingStep(4, {1, 2}), record}),
            absl::InvalidArgumentError("1"));
  EXPECT_THAT(order, ElementsAre(0, 1, 2));
}

TEST(RunInline, ObeysCancellation) {
  Cancellation cancellation;
  cancellation.Cancel();
  std::atomic<int> count{0};
  EXPECT_EQ(RunInline({CountingStep(1, count)}, &cancellation).code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(count, 0);
}

TEST(Workspace, BlocksAreAlignedAndDoNotOverlap) {
  Workspace workspace;
  constexpr int64_t kCounts[] = {1, 7, 100000, 3, 0, 50000};
  std::vector<std::pair<uintptr_t, uintptr_t>> ranges;
  for (const int64_t count : kCounts) {
    auto* const start = workspace.Allocate<float>(count);
    for (int64_t i = 0; i < count; ++i) start[i] = 1.0F;
    const auto address = reinterpret_cast<uintptr_t>(start);
    EXPECT_EQ(address % 64, 0U);
    for (const auto& [begin, end] : ranges) {
      EXPECT_TRUE(address >= end || address + count * sizeof(float) <= begin);
    }
    ranges.emplace_back(address, address + count * sizeof(float));
  }
}

TEST(Workspace, TaskOfTheSameSizeFindsOneBlock) {
  Workspace workspace;
  constexpr int64_t kCount = 1 << 20;
  workspace.Allocate<float>(kCount);
  workspace.Allocate<float>(kCount);
  workspace.Reset();
  auto* const first = workspace.Allocate<float>(kCount);
  auto* const second = workspace.Allocate<float>(kCount);
  EXPECT_EQ(second - first, kCount);
  workspace.Reset();
  EXPECT_EQ(workspace.Allocate<float>(kCount), first);
}

TEST(Workspace, ImpossibleSizeThrowsBadAlloc) {
  Workspace workspace;
  EXPECT_THROW(workspace.Allocate<char>(INT64_MAX), std::bad_alloc);
  EXPECT_NE(workspace.Allocate<char>(1), nullptr);
}

// A cgroup file system in a folder of its own.
class CgroupTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  const ScratchFolder folder_;
  const std::string mount_ = folder_.path();
};

TEST_F(CgroupTest, VersionTwoQuotaIsTheSmallestOnTheWayUp) {
  Write("cpu.max", "max 100000\n");
  Write("a/cpu.max", "150000 100000\n");
  Write("a/b/cpu.max", "400000 100000\n");
  Write("a/b/c/cpu.max", "max 100000\n");
  EXPECT_EQ(CgroupCpuQuota("0::/a/b/c\n", mount_), 1.5);
  EXPECT_EQ(CgroupCpuQuota("0::/\n", mount_), std::nullopt);
}

TEST_F(CgroupTest, GroupThatIsNotMountedHereFallsBackToTheMount) {
  Write("cpu.max", "300000 100000\n");
  EXPECT_EQ(CgroupCpuQuota("0::/docker/0123\n", mount_), 3.0);
}

TEST_F(CgroupTest, VersionOneQuotaIsRead) {
  Write("cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n");
  Write("cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
  Write("cpu,cpuacct/b/cpu.cfs_quota_us", "-1\n");
  Write("cpu,cpuacct/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CgroupCpuQuota("3:memory:/a\n2:cpu,cpuacct:/a\n", mount_), 0.5);
  EXPECT_EQ(CgroupCpuQuota("2:cpu,cpuacct:/b\n", mount_), std::nullopt);
  EXPECT_EQ(CgroupCpuQuota("2:cpuset:/a\n", mount_), std::nullopt);
}

TEST_F(CgroupTest, UnreadableTextIsNoQuota) {
  Write("cpu.max", "lots\n");
  EXPECT_EQ(CgroupCpuQuota("0::/\n", mount_), std::nullopt);
  EXPECT_EQ(CgroupCpuQuota("", mount_), std::nullopt);
  EXPECT_EQ(CgroupCpuQuota("nonsense\n::\n", mount_), std::nullopt);
}

TEST(AvailableCpus, IsAtLeastOne) { EXPECT_GE(AvailableCpus(), 1); }

}  // namespace
}  // namespace attention::core
