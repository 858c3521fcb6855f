// A lock whose use clang checks.
#ifndef SERVER_CORE_MUTEX_H_
#define SERVER_CORE_MUTEX_H_

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "absl/base/thread_annotations.h"

namespace attention::core {

// std::mutex, which ThreadSanitizer sees, with the annotations by which clang's
// -Wthread-safety refuses code that touches what a lock guards without it. What
// is guarded says so, and so does a function that wants the lock held:
//
//   void Add(int n) { const MutexLock lock(mutex_); AddLocked(n); }
//   void AddLocked(int n) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { sum_ += n; }
//   Mutex mutex_;
//   int sum_ ABSL_GUARDED_BY(mutex_) = 0;
//
// clang looks at one function at a time and takes a lambda for one of its own,
// which holds nothing: conditions are loops (CondVar), not lambdas. It looks at
// no constructor or destructor: one that locks calls a function that does.
//
// Not absl::Mutex: Debian's is compiled without what tells ThreadSanitizer of
// it, which then takes everything that it guards for a race. Not std::mutex
// itself: libstdc++ has no annotations.
class ABSL_LOCKABLE Mutex {
 public:
  Mutex() = default;
  ~Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // For what does not begin and end with a block; otherwise MutexLock.
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

// Holds a mutex from here to the end of the block.
class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex)
      : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// What abseil has no word for: the end of the block takes it again.
#if ABSL_HAVE_ATTRIBUTE(release_capability)
#define ATTENTION_UNLOCKS_SCOPE(mutex) \
  __attribute__((release_capability(mutex)))
#else
#define ATTENTION_UNLOCKS_SCOPE(mutex)
#endif

// Lets go of a mutex that is held, from here to the end of the block.
class ABSL_SCOPED_LOCKABLE MutexUnlock {
 public:
  explicit MutexUnlock(Mutex& mutex) ATTENTION_UNLOCKS_SCOPE(mutex)
      : mutex_(mutex) {
    mutex_.Unlock();
  }
  ~MutexUnlock() ABSL_UNLOCK_FUNCTION() { mutex_.Lock(); }
  MutexUnlock(const MutexUnlock&) = delete;
  MutexUnlock& operator=(const MutexUnlock&) = delete;

 private:
  Mutex& mutex_;
};

// Where threads wait for what a mutex guards. Each wait lets go of the mutex
// and has it again when it returns, which may be for no reason: in a loop,
//
//   while (!stopping_) stop_.Wait(mutex_);
class CondVar {
 public:
  void Wait(Mutex& mutex) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();
  }

  // No longer than until `time`; whether that has not come yet.
  bool WaitUntil(Mutex& mutex, std::chrono::steady_clock::time_point time)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = changed_.wait_until(lock, time);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  void NotifyOne() { changed_.notify_one(); }
  void NotifyAll() { changed_.notify_all(); }

 private:
  std::condition_variable changed_;
};

}  // namespace attention::core

#endif  // SERVER_CORE_MUTEX_H_
