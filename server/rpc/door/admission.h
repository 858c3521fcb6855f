// How much the server takes on at one time.
#ifndef SERVER_RPC_DOOR_ADMISSION_H_
#define SERVER_RPC_DOOR_ADMISSION_H_

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/core/mutex.h"
#include "server/memory/ledger.h"
#include "server/rpc/door/arrivals.h"
#include "server/rpc/door/limits.h"

namespace attention::rpc {

// Counts requests, takes the memory they need out of the ledger, and refuses
// what would be too much; nothing ever waits here. Thread-safe.
//
// Errors are RESOURCE_EXHAUSTED naming the figure and the flag: with RetryInfo
// if the request could fit later, without if it never can. While draining,
// UNAVAILABLE.
class Admission {
 public:
  using Amount = memory::Amount;

  // The share of one request. Gives everything back when it ends. Thread-safe;
  // must not outlive its Admission.
  class Ticket {
   public:
    // Holds nothing; see Enter.
    explicit Ticket(Admission& admission) : admission_(admission) {}
    ~Ticket() { Release(); }
    Ticket(const Ticket&) = delete;
    Ticket& operator=(const Ticket&) = delete;

    // Takes all of these, or none.
    absl::Status Take(std::initializer_list<Amount> amounts);

    // Gives back early what was taken.
    void Return(Amount amount);

    // The request is answered: it counts no more, though its bytes are still
    // held, by the network. So a client that sends one request after the other
    // never meets its own last one.
    void Answered();

    // Gives everything back now.
    void Release();

   private:
    friend class Admission;

    absl::Status Enter(int64_t bytes, bool is_stream);
    absl::Status TakePlace(int64_t bytes, bool is_stream);

    Admission& admission_;
    std::array<int64_t, memory::kKinds> taken_
        ABSL_GUARDED_BY(admission_.mutex_){};
    // Of all kinds.
    int64_t bytes_ ABSL_GUARDED_BY(admission_.mutex_) = 0;
    bool entered_ ABSL_GUARDED_BY(admission_.mutex_) = false;
    bool answered_ ABSL_GUARDED_BY(admission_.mutex_) = false;
    bool is_stream_ ABSL_GUARDED_BY(admission_.mutex_) = false;
  };

  // Obeys max_message_bytes, max_requests_in_flight and the ledger, which
  // outlives this.
  Admission(const Limits& limits, memory::Ledger& ledger)
      : limits_(limits), ledger_(ledger) {}

  // What connections have brought.
  Arrivals& arrivals() { return arrivals_; }

  // A place for one request whose message has `bytes`: makes it `ticket`'s.
  // REQUIRES: `ticket` is of this admission and has not entered.
  absl::Status Enter(int64_t bytes, Ticket& ticket);

  // A place for a stream, whose first message has `bytes`: it does not count as
  // a request, but as open. REQUIRES: as Enter.
  absl::Status EnterStream(int64_t bytes, Ticket& ticket);

  // The same with a ticket of its own.
  absl::StatusOr<std::shared_ptr<Ticket>> Enter(int64_t bytes);

  // From now on Enter answers UNAVAILABLE. Calls what watches it.
  void Drain();

  // Ends the watch. A call that has begun may go on.
  class DrainWatch {
   public:
    DrainWatch() = default;
    ~DrainWatch();
    DrainWatch(DrainWatch&& other) noexcept { *this = std::move(other); }
    DrainWatch& operator=(DrainWatch&& other) noexcept;

   private:
    friend class Admission;
    Admission* admission_ = nullptr;
    std::list<std::function<void()>>::iterator listener_;
  };

  // Calls `listener` once draining starts, and at once if it has. The watch
  // must not outlive this.
  DrainWatch OnDrain(const std::function<void()>& listener);

  // Requests that are not answered yet.
  int32_t requests() const;
  // Whether no ticket is left.
  bool idle() const;

 private:
  void Forget(std::list<std::function<void()>>::iterator listener);

  const Limits limits_;
  memory::Ledger& ledger_;
  Arrivals arrivals_;

  mutable core::Mutex mutex_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::list<std::function<void()>> drain_listeners_ ABSL_GUARDED_BY(mutex_);
  int32_t requests_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t streams_ ABSL_GUARDED_BY(mutex_) = 0;
  int32_t tickets_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_ADMISSION_H_
