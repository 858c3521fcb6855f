#include "server/core/brief_lock.h"

namespace attention::core {
namespace {

// Looks, and what lies between two: together about a microsecond.
constexpr int kLooks = 60;
constexpr int kPausesBetween = 8;

// Tells the processor that this thread only waits.
void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

std::unique_lock<std::mutex> BriefLock(std::mutex& mutex) {
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  for (int look = 0; !lock.owns_lock() && look < kLooks; ++look) {
    for (int i = 0; i < kPausesBetween; ++i) Pause();
    static_cast<void>(lock.try_lock());
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

}  // namespace attention::core
