#include "server/core/pool/brief_lock.h"

namespace attention::core {
namespace {

// Each takes a pause of the processor, which is 10 to 50 ns.
constexpr int kLooks = 120;

// Tells the processor that this thread only waits.
void Pause() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

std::unique_lock<std::mutex> BriefLock(std::mutex& mutex) {
  std::unique_lock<std::mutex> lock(mutex, std::try_to_lock);
  for (int look = 0; !lock.owns_lock() && look < kLooks; ++look) {
    Pause();
    static_cast<void>(lock.try_lock());
  }
  if (!lock.owns_lock()) lock.lock();
  return lock;
}

}  // namespace attention::core
