#include "server/memory/free_memory.h"

#include <chrono>

#include "server/memory/allocated.h"

namespace attention::memory {
namespace {

// Often enough that little is freed and taken elsewhere between two looks, and
// so seldom that nobody notices.
constexpr std::chrono::milliseconds kBetweenLooks(200);
// As long as buffers are kept for the next request.
constexpr int kIdleLooks = 10;
// Not worth a call for every look.
constexpr int64_t kLeast = int64_t{1} << 20;

}  // namespace

FreeMemory::FreeMemory(const Ledger& ledger, int64_t kept_bytes)
    : ledger_(ledger), kept_bytes_(kept_bytes), thread_([this] { Run(); }) {}

FreeMemory::~FreeMemory() {
  Stop();
  thread_.join();
}

void FreeMemory::Stop() {
  const core::MutexLock lock(mutex_);
  stopping_ = true;
  stop_.NotifyOne();
}

bool FreeMemory::IsIdle() const {
  return ledger_.held() ==
         ledger_.held(Kind::kWeights) + ledger_.held(Kind::kConvertedWeights);
}

void FreeMemory::Run() {
  int idle_looks = 0;
  const core::MutexLock lock(mutex_);
  while (!stopping_) {
    const auto next = std::chrono::steady_clock::now() + kBetweenLooks;
    if (stop_.WaitUntil(mutex_, next)) continue;
    idle_looks = IsIdle() ? idle_looks + 1 : 0;
    const int64_t kept = idle_looks >= kIdleLooks ? 0 : kept_bytes_;
    const int64_t spare = FreeBytes() - kept;
    if (spare >= kLeast) ReleaseToSystem(spare);
  }
}

}  // namespace attention::memory
