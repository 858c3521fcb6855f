// Locking a mutex that others hold for a moment only.
#ifndef SERVER_CORE_POOL_BRIEF_LOCK_H_
#define SERVER_CORE_POOL_BRIEF_LOCK_H_

#include <mutex>

namespace attention::core {

// Locks `mutex`. If it is not free, looks again for a few microseconds before
// it sleeps: to fall asleep and be woken takes longer, and costs the one who
// unlocks a system call. For sections that are over long before that.
std::unique_lock<std::mutex> BriefLock(std::mutex& mutex);

}  // namespace attention::core

#endif  // SERVER_CORE_POOL_BRIEF_LOCK_H_
