// The threads that compute, and the shape of the work they take.
#ifndef SERVER_CORE_POOL_COMPUTE_POOL_H_
#define SERVER_CORE_POOL_COMPUTE_POOL_H_

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "server/core/mutex.h"
#include "server/core/pool/arrays.h"

namespace attention::core {

// Scratch memory of one worker, kept from task to task: as much as the largest
// task took, and 64 KiB at least; when a computation is over, kKept at most.
class Workspace {
 public:
  Workspace() = default;
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  // Room for `count` elements of T, aligned to 64 bytes, contents undefined.
  // Valid until Reset. Several may be held at once. Throws std::bad_alloc.
  template <typename T>
  T* Allocate(int64_t count) {
    return static_cast<T*>(
        AllocateBytes(static_cast<size_t>(count) * sizeof(T)));
  }

  // A layout (server/core/pool/arrays.h) of these sizes; the same holds.
  template <typename Layout, typename... Sizes>
  Layout Take(const Sizes&... sizes) {
    Carve carve(AllocateBytes(static_cast<size_t>(BytesOf<Layout>(sizes...))));
    return Layout(sizes..., carve);
  }

  // Bytes of memory it has.
  int64_t held_bytes() const;
  // Gives the memory itself back, if there is more than kKept: the computation
  // that needed so much is over, and what it was charged is given back, too.
  void Trim();
  static constexpr int64_t kKept = int64_t{1} << 20;

  // Gives everything back, to be used again. The pool does this before each
  // task.
  void Reset();

 private:
  void* AllocateBytes(size_t bytes);

  struct Free {
    void operator()(void* p) const;
  };
  struct Block {
    std::unique_ptr<void, Free> memory;
    size_t size = 0;
    size_t used = 0;
  };
  std::vector<Block> blocks_;
};

// One step of a computation: tasks 0 .. tasks-1, which do not depend on each
// other and may run in any order, on any worker, at once. A task must not
// block.
struct Step {
  int64_t tasks = 0;
  std::function<absl::Status(int64_t task, Workspace& workspace)> run;
};

// Steps that do not depend on each other, as one.
Step Together(std::vector<Step> steps);

// How long a computation may take.
enum class Length {
  kAny,
  // One task, which takes some tens of microseconds at most, `done` included.
  kBrief,
};

// Steps in order: a step starts when every task of the one before is done.
using Computation = std::vector<Step>;

// Whether a computation is still wanted. Thread-safe.
class Cancellation {
 public:
  using Clock = std::chrono::system_clock;

  explicit Cancellation(Clock::time_point deadline = Clock::time_point::max())
      : deadline_(deadline) {}

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }

  // OK, CANCELLED or DEADLINE_EXCEEDED.
  absl::Status Check() const;

 private:
  const Clock::time_point deadline_;
  std::atomic<bool> cancelled_{false};
};

// Runs the steps on the calling thread. Returns the error of the first task, in
// order, that has one; later tasks are not run.
absl::Status RunInline(const Computation& computation,
                       const Cancellation* cancellation = nullptr);

// The same with scratch memory that the caller keeps from call to call, such as
// that of a task this is a part of; it is reset before each task.
absl::Status RunInline(const Computation& computation,
                       const Cancellation* cancellation, Workspace& workspace);

// A fixed number of threads that run computations. Each worker takes a task of
// one computation, then a task of the next, round-robin, so a large computation
// cannot starve a small one. Between two tasks of a computation its
// cancellation is checked. Results do not depend on the number of threads;
// neither does the error: it is that of the first task, in order, that has one.
//
// A task that throws std::bad_alloc ends its computation with
// RESOURCE_EXHAUSTED; any other exception with INTERNAL.
class ComputePool {
 public:
  // REQUIRES: threads >= 1.
  explicit ComputePool(int threads);

  // Waits until everything submitted is done.
  ~ComputePool();

  ComputePool(const ComputePool&) = delete;
  ComputePool& operator=(const ComputePool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()); }

  // Starts `computation`; calls `done` once, on a worker, when no task of it
  // runs any more. `cancellation` may be null. `done` must not block. While a
  // worker is busy with a brief one, no other is woken for the next few brief
  // ones. Thread-safe.
  void Submit(Computation computation,
              std::shared_ptr<const Cancellation> cancellation,
              std::function<void(absl::Status)> done,
              Length length = Length::kAny);

  // Submits and waits. Never from a task.
  absl::Status Run(Computation computation,
                   std::shared_ptr<const Cancellation> cancellation = nullptr);

 private:
  struct Job;
  void Work();
  // mutex_ is let go of on the way in this one and in Advance.
  void WaitForWork(bool answered, Workspace& workspace)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void LookForWork() const;
  // Runs a task of a job that is not in ready_, if it has one. Returns whether
  // the job is over; it is in ready_ again if not, or others run it.
  bool Advance(Job& job, Workspace& workspace)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The caller wakes workers.
  void Enqueue(Job& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Fail(Job& job, int64_t task, absl::Status error)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Stop();
  void Join();

  Mutex mutex_;
  CondVar wake_;
  // Has tasks to hand out; front is next.
  std::list<std::shared_ptr<Job>> ready_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> is_ready_{false};  // whether ready_ has any; a hint
  const size_t most_looking_;
  // Workers that will see ready_ before they sleep.
  size_t looking_ ABSL_GUARDED_BY(mutex_) = 0;
  // Workers that run a brief job.
  size_t brief_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> workers_;
};

// Threads this process may use: its CPU affinity, less where a cgroup quota
// allows less; at least 1.
int AvailableCpus();

}  // namespace attention::core

#endif  // SERVER_CORE_POOL_COMPUTE_POOL_H_
