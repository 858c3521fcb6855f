#include "server/core/pool/compute_pool.h"

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>

namespace attention::core {
namespace {

constexpr auto kAlignment = static_cast<size_t>(kArrayAlignment);
constexpr size_t kSmallestBlock = size_t{64} << 10;

// How long a worker looks for more work before it sleeps, letting others have
// its processor meanwhile. The next step of a computation, or the next request
// of somebody who waits for each answer, comes within that time. No more than
// half of the workers do so at once, but for one that has just answered what
// several worked on: the next request is likely to be for several, too.
constexpr std::chrono::microseconds kPatience(100);

// As many brief jobs as may wait for a worker that runs one.
constexpr size_t kMostBriefWaiting = 8;

size_t RoundUp(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

// What a task's exceptions mean. None may leave the pool.
absl::Status RunTask(const Step& step, int64_t task, Workspace& workspace,
                     const Cancellation* cancellation) {
  if (cancellation != nullptr) {
    absl::Status wanted = cancellation->Check();
    if (!wanted.ok()) return wanted;
  }
  try {
    workspace.Reset();
    return step.run(task, workspace);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while computing");
  } catch (const std::exception& exception) {
    return absl::InternalError(std::string("a task threw ") + exception.what());
  } catch (...) {
    return absl::InternalError("a task threw an unknown exception");
  }
}

// Where the one who waits for a computation finds what became of it.
class Result {
 public:
  void Set(absl::Status status) {
    const MutexLock lock(mutex_);
    status_ = std::move(status);
    is_set_.NotifyOne();  // under the lock: this may end after it
  }

  absl::Status Wait() {
    const MutexLock lock(mutex_);
    while (!status_.has_value()) is_set_.Wait(mutex_);
    return *std::move(status_);
  }

 private:
  Mutex mutex_;
  CondVar is_set_;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

Step Together(std::vector<Step> steps) {
  int64_t tasks = 0;
  for (const Step& step : steps) tasks += step.tasks;
  return {tasks,
          [steps = std::move(steps)](int64_t task, Workspace& workspace) {
            auto step = steps.begin();
            for (; task >= step->tasks; ++step) task -= step->tasks;
            return step->run(task, workspace);
          }};
}

void Workspace::Free::operator()(void* p) const { std::free(p); }

void* Workspace::AllocateBytes(size_t bytes) {
  if (bytes > PTRDIFF_MAX - kAlignment) throw std::bad_alloc();
  const size_t rounded = RoundUp(bytes);
  if (blocks_.empty() || blocks_.back().size - blocks_.back().used < rounded) {
    // What is too small and empty makes room first.
    if (!blocks_.empty() && blocks_.back().used == 0) blocks_.pop_back();
    Block block;
    block.size = std::max(rounded, kSmallestBlock);
    block.memory.reset(std::aligned_alloc(kAlignment, block.size));
    if (block.memory == nullptr) throw std::bad_alloc();
    blocks_.push_back(std::move(block));
  }
  Block& block = blocks_.back();
  void* const start = static_cast<char*>(block.memory.get()) + block.used;
  block.used += rounded;
  return start;
}

int64_t Workspace::held_bytes() const {
  size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.size;
  return static_cast<int64_t>(bytes);
}

void Workspace::Reset() {
  size_t used = 0;
  for (Block& block : blocks_) {
    used += block.used;
    block.used = 0;
  }
  if (blocks_.size() <= 1) return;
  // One block for what took several: the next task of this size finds it, and
  // the workspace never holds more than the largest task took.
  blocks_.clear();
  Block whole;
  whole.size = used;
  whole.memory.reset(std::aligned_alloc(kAlignment, used));
  if (whole.memory != nullptr) blocks_.push_back(std::move(whole));
}

void Workspace::Trim() {
  if (held_bytes() > kKept) blocks_.clear();
}

absl::Status Cancellation::Check() const {
  // The deadline first: it is why a call is cancelled when it passes.
  if (deadline_ != Clock::time_point::max() && Clock::now() >= deadline_) {
    return absl::DeadlineExceededError("the deadline of the call has passed");
  }
  if (cancelled_.load(std::memory_order_relaxed)) {
    return absl::CancelledError("cancelled by the caller");
  }
  return absl::OkStatus();
}

absl::Status RunInline(const Computation& computation,
                       const Cancellation* cancellation) {
  Workspace workspace;
  return RunInline(computation, cancellation, workspace);
}

absl::Status RunInline(const Computation& computation,
                       const Cancellation* cancellation, Workspace& workspace) {
  for (const Step& step : computation) {
    for (int64_t task = 0; task < step.tasks; ++task) {
      absl::Status status = RunTask(step, task, workspace, cancellation);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

// A computation under way. Guarded by the pool's mutex, but for `computation`,
// which does not change while tasks of it run.
struct ComputePool::Job {
  Computation computation;
  std::shared_ptr<const Cancellation> cancellation;
  std::function<void(absl::Status)> done;
  bool brief = false;
  bool for_many = false;  // a step of it has several tasks

  size_t step = 0;
  int64_t next_task = 0;  // of step, the first not handed out
  int64_t running = 0;    // tasks of step handed out and not finished

  // Tasks are handed out in order, and none after an error. So when an error is
  // recorded every task before it runs or has run, and the error that remains
  // is the same for any number of threads.
  absl::Status status;
  int64_t failed_task = 0;

  // The node of this job while it is not in ready_, where it is exactly while
  // HasTask(). Moving a node cannot fail; making one could.
  std::list<std::shared_ptr<Job>> node;

  bool HasTask() const {
    return status.ok() && step < computation.size() &&
           next_task < computation[step].tasks;
  }

  bool IsOneTask() const {
    return computation.size() == 1 && computation.front().tasks == 1;
  }

  void SkipEmptySteps() {
    while (step < computation.size() && computation[step].tasks <= 0) ++step;
  }

  void StartNextStep() {
    ++step;
    next_task = 0;
    SkipEmptySteps();
  }
};

ComputePool::ComputePool(int threads)
    : most_looking_(static_cast<size_t>((threads + 1) / 2)) {
  workers_.reserve(static_cast<size_t>(threads));
  try {
    for (int i = 0; i < threads; ++i) workers_.emplace_back([this] { Work(); });
  } catch (...) {
    Join();
    throw;
  }
}

ComputePool::~ComputePool() { Join(); }

void ComputePool::Stop() {
  const MutexLock lock(mutex_);
  stopping_ = true;
  wake_.NotifyAll();
}

void ComputePool::Join() {
  Stop();
  for (std::thread& worker : workers_) worker.join();
}

void ComputePool::Submit(Computation computation,
                         std::shared_ptr<const Cancellation> cancellation,
                         std::function<void(absl::Status)> done,
                         Length length) {
  const auto job = std::make_shared<Job>();
  job->computation = std::move(computation);
  job->cancellation = std::move(cancellation);
  job->done = std::move(done);
  job->brief = length == Length::kBrief;
  job->for_many = std::any_of(job->computation.begin(), job->computation.end(),
                              [](const Step& step) { return step.tasks > 1; });
  job->SkipEmptySteps();
  job->node.push_back(job);
  // More than one task is work for all. Each would wake the next one otherwise,
  // one wake-up after the other.
  const bool for_all = job->HasTask() && job->computation[job->step].tasks > 1;
  {
    const MutexLock lock(mutex_);
    Enqueue(*job);
    // Those who look for work will find it, and soon those who run a brief job.
    const size_t soon =
        looking_ + (job->brief && brief_ > 0 ? kMostBriefWaiting : 0);
    if (!for_all && ready_.size() <= soon) return;
  }
  if (for_all) {
    wake_.NotifyAll();
  } else {
    wake_.NotifyOne();
  }
}

absl::Status ComputePool::Run(
    Computation computation, std::shared_ptr<const Cancellation> cancellation) {
  Result result;
  Submit(std::move(computation), std::move(cancellation),
         [&](absl::Status status) { result.Set(std::move(status)); });
  return result.Wait();
}

void ComputePool::Work() {
  Workspace workspace;
  bool answered = false;  // what several worked on, just now
  const MutexLock lock(mutex_);
  while (true) {
    WaitForWork(answered, workspace);
    answered = false;
    if (ready_.empty()) return;
    std::shared_ptr<Job> job = ready_.front();
    job->node.splice(job->node.end(), ready_, ready_.begin());
    is_ready_.store(!ready_.empty(), std::memory_order_relaxed);
    const bool brief = job->brief;
    if (brief) ++brief_;
    // A job that is one task is nobody else's from here on.
    const bool alone = job->IsOneTask();
    if (!alone && !Advance(*job, workspace)) continue;
    {
      const MutexUnlock unlock(mutex_);
      if (alone) {
        job->status = RunTask(job->computation.front(), 0, workspace,
                              job->cancellation.get());
      }
      job->node.clear();  // it kept the job alive
      job->computation.clear();
      workspace.Trim();
      job->done(std::move(job->status));
      answered = job->for_many;
      job.reset();  // what `done` holds must not end under the lock
    }
    if (brief) --brief_;
  }
}

void ComputePool::WaitForWork(bool answered, Workspace& workspace) {
  if (ready_.empty() && !stopping_ && (answered || looking_ < most_looking_)) {
    ++looking_;
    {
      const MutexUnlock unlock(mutex_);
      LookForWork();
    }
    --looking_;
  }
  if (ready_.empty() && workspace.held_bytes() > Workspace::kKept) {
    // Another worker may have ended what it is of.
    const MutexUnlock unlock(mutex_);
    workspace.Trim();
  }
  while (!stopping_ && ready_.empty()) wake_.Wait(mutex_);
}

bool ComputePool::Advance(Job& job, Workspace& workspace) {
  if (!job.HasTask()) return true;
  const Step& step = job.computation[job.step];
  const int64_t task = job.next_task++;
  ++job.running;
  if (job.HasTask()) {
    Enqueue(job);  // at the back: other jobs come first
    wake_.NotifyOne();
  }
  absl::Status result;
  {
    const MutexUnlock unlock(mutex_);
    result = RunTask(step, task, workspace, job.cancellation.get());
  }
  if (!result.ok()) Fail(job, task, std::move(result));
  --job.running;
  if (job.running > 0 || job.HasTask()) return false;
  if (job.status.ok()) job.StartNextStep();
  if (!job.HasTask()) return true;
  Enqueue(job);
  wake_.NotifyAll();
  return false;
}

void ComputePool::Enqueue(Job& job) {
  ready_.splice(ready_.end(), job.node);
  is_ready_.store(true, std::memory_order_relaxed);
}

void ComputePool::LookForWork() const {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!is_ready_.load(std::memory_order_relaxed) &&
         std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
}

void ComputePool::Fail(Job& job, int64_t task, absl::Status error) {
  if (job.status.ok()) {
    const auto is_job = [&](const std::shared_ptr<Job>& other) {
      return other.get() == &job;
    };
    const auto queued = std::find_if(ready_.begin(), ready_.end(), is_job);
    if (queued != ready_.end()) job.node.splice(job.node.end(), ready_, queued);
    is_ready_.store(!ready_.empty(), std::memory_order_relaxed);
  } else if (task > job.failed_task) {
    return;
  }
  job.status = std::move(error);
  job.failed_task = task;
}

}  // namespace attention::core
