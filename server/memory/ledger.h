// The one account of the memory that the server holds.
#ifndef SERVER_MEMORY_LEDGER_H_
#define SERVER_MEMORY_LEDGER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace attention::memory {

// What memory is held for; the names are those of the contract's Memory.
enum class Kind {
  kArriving,          // received by the network, not yet by a handler
  kMessages,          // requests: as received, gathered, parsed
  kWorkspaces,        // what computations need on the way
  kReplies,           // results, until the network has taken them
  kUploads,           // tensors of weight sets that are still coming
  kWeights,           // versions of weight sets
  kConvertedWeights,  // the same in another compute type
  kIdleBuffers,       // kept for the next request
};
inline constexpr size_t kKinds = 8;

// Bytes, and what they are for.
struct Amount {
  Kind kind;
  int64_t bytes;
};

// Lends bytes under one limit: whoever allocates takes first, and does without
// if it is refused. An eighth of the limit is never lent: gRPC takes memory
// without asking, and ends the process when there is none. Thread-safe; nobody
// ever waits here.
class Ledger {
 public:
  // REQUIRES: limit >= 0, in bytes.
  explicit Ledger(int64_t limit) : limit_(limit) {}
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  int64_t limit() const { return limit_; }
  int64_t lendable() const { return limit_ - limit_ / 8; }

  // Bytes held in all, and for one thing.
  int64_t held() const { return held_.load(std::memory_order_relaxed); }
  int64_t held(Kind kind) const {
    return by_kind_[static_cast<size_t>(kind)].load(std::memory_order_relaxed);
  }

  // False, and nothing is taken, if more than lendable() would be held, even
  // after what is kept for later has been given back. REQUIRES: bytes >= 0.
  [[nodiscard]] bool Take(Kind kind, int64_t bytes);

  // All of these, or none.
  [[nodiscard]] bool Take(absl::Span<const Amount> amounts);

  // The same of what is to be kept for later: nothing is given back for it.
  [[nodiscard]] bool TakeIfFree(Kind kind, int64_t bytes);

  // Counts what is held already, whether or not it fits.
  void Count(Kind kind, int64_t bytes);

  // REQUIRES: as many were taken or counted.
  void Give(Kind kind, int64_t bytes);
  void Give(absl::Span<const Amount> amounts);

  // What Take calls when memory is short: it gives back what is only kept for
  // later. Set once, before other threads use this; it is called on any.
  void set_on_shortage(std::function<void()> give_back) {
    give_back_ = std::move(give_back);
  }

 private:
  // False, and nothing is taken, if there is no room for so many.
  bool TakeHeld(int64_t bytes);
  void Add(Kind kind, int64_t bytes) {
    by_kind_[static_cast<size_t>(kind)].fetch_add(bytes,
                                                  std::memory_order_relaxed);
  }

  const int64_t limit_;
  std::function<void()> give_back_;
  std::atomic<int64_t> held_{0};
  std::array<std::atomic<int64_t>, kKinds> by_kind_{};
};

// RESOURCE_EXHAUSTED: `subject`, which holds `before`, is not lent `bytes`
// more. Says how much is held and lent; NotLentFigures has what it says.
absl::Status NotLent(const Ledger& ledger, absl::string_view subject,
                     int64_t before, int64_t bytes);
// The same, about a field (proto/field_error.h).
absl::Status FieldNotLent(const Ledger& ledger, absl::string_view field,
                          int64_t before, int64_t bytes);

struct NotLentFigures {
  int64_t needed;    // before and bytes
  int64_t lendable;  // what may be lent in all: if less, it never fits
};
// None of a status that is not NotLent's.
std::optional<NotLentFigures> FiguresOf(const absl::Status& status);

// Bytes taken from a ledger for one thing, and given back with this object,
// which must not outlive the ledger. Movable. For one thread at a time.
class Loan {
 public:
  // Of no ledger: everything is granted, and counted nowhere.
  Loan() = default;
  Loan(Ledger& ledger, Kind kind) : ledger_(&ledger), kind_(kind) {}
  ~Loan() { Return(bytes_); }
  Loan(Loan&& other) noexcept { *this = std::move(other); }
  Loan& operator=(Loan&& other) noexcept;

  int64_t bytes() const { return bytes_; }

  // Another of the same ledger, of nothing yet.
  Loan For(Kind kind) const;

  // What is held is held for `kind` from now on.
  void Become(Kind kind);

  // Takes `more`; false, and nothing changes, if it is refused.
  [[nodiscard]] bool Take(int64_t more);
  // The same; FieldNotLent if it is refused.
  absl::Status TakeFor(absl::string_view field, int64_t more);

  // Counts `more`, which are held already.
  void Count(int64_t more);

  // Gives so many back. REQUIRES: 0 <= bytes <= bytes().
  void Return(int64_t bytes);

 private:
  Ledger* ledger_ = nullptr;
  Kind kind_ = Kind::kMessages;
  int64_t bytes_ = 0;
};

}  // namespace attention::memory

#endif  // SERVER_MEMORY_LEDGER_H_
