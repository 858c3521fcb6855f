#include "server/memory/ledger.h"

#include <utility>

#include "server/core/saturating.h"

namespace attention::memory {

bool Ledger::TryTake(Kind kind, int64_t bytes) {
  int64_t held = held_.load(std::memory_order_relaxed);
  do {
    if (core::SaturatingAdd(held, bytes) > lendable()) return false;
  } while (!held_.compare_exchange_weak(held, held + bytes,
                                        std::memory_order_relaxed));
  by_kind_[static_cast<size_t>(kind)].fetch_add(bytes,
                                                std::memory_order_relaxed);
  return true;
}

bool Ledger::Take(Kind kind, int64_t bytes) {
  if (TryTake(kind, bytes)) return true;
  if (give_back_ == nullptr || held(Kind::kIdleBuffers) == 0) return false;
  give_back_();
  return TryTake(kind, bytes);
}

void Ledger::Count(Kind kind, int64_t bytes) {
  held_.fetch_add(bytes, std::memory_order_relaxed);
  by_kind_[static_cast<size_t>(kind)].fetch_add(bytes,
                                                std::memory_order_relaxed);
}

void Ledger::Give(Kind kind, int64_t bytes) { Count(kind, -bytes); }

Loan& Loan::operator=(Loan&& other) noexcept {
  std::swap(ledger_, other.ledger_);
  std::swap(kind_, other.kind_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Loan Loan::For(Kind kind) const {
  Loan other;
  other.ledger_ = ledger_;
  other.kind_ = kind;
  return other;
}

void Loan::Become(Kind kind) {
  if (ledger_ != nullptr) {
    ledger_->Count(kind, bytes_);
    ledger_->Give(kind_, bytes_);
  }
  kind_ = kind;
}

bool Loan::Take(int64_t more) {
  if (ledger_ != nullptr && !ledger_->Take(kind_, more)) return false;
  bytes_ += more;
  return true;
}

void Loan::Count(int64_t more) {
  if (ledger_ != nullptr) ledger_->Count(kind_, more);
  bytes_ += more;
}

void Loan::Return(int64_t bytes) {
  if (ledger_ != nullptr && bytes != 0) ledger_->Give(kind_, bytes);
  bytes_ -= bytes;
}

}  // namespace attention::memory
