#include "bench/cancel_trial.h"

#include <future>
#include <memory>
#include <thread>
#include <utility>

namespace attention::bench {

double MillisecondsAfter(Ending ending, std::chrono::microseconds delay,
                         const KernelCase& kernel_case,
                         core::ComputePool& pool) {
  using Clock = core::Cancellation::Clock;
  core::Computation steps = kernel_case.Steps();
  const Clock::time_point end = Clock::now() + delay;
  const auto cancellation = ending == Ending::kDeadline
                                ? std::make_shared<core::Cancellation>(end)
                                : std::make_shared<core::Cancellation>();
  std::promise<Clock::time_point> done;
  pool.Submit(std::move(steps), cancellation,
              [&](const absl::Status&) { done.set_value(Clock::now()); });
  Clock::time_point from = end;
  if (ending == Ending::kCancel) {
    std::this_thread::sleep_until(end);
    from = Clock::now();
    cancellation->Cancel();
  }
  const Clock::time_point finished = done.get_future().get();
  return std::chrono::duration<double, std::milli>(finished - from).count();
}

}  // namespace attention::bench
