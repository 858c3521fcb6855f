#include "server/memory/ledger.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "proto/field_error.h"
#include "server/core/saturating.h"

namespace attention::memory {

bool Ledger::TakeHeld(int64_t bytes) {
  int64_t held = held_.load(std::memory_order_relaxed);
  do {
    if (core::SaturatingAdd(held, bytes) > lendable()) return false;
  } while (!held_.compare_exchange_weak(held, held + bytes,
                                        std::memory_order_relaxed));
  return true;
}

bool Ledger::TakeIfFree(Kind kind, int64_t bytes) {
  if (!TakeHeld(bytes)) return false;
  Add(kind, bytes);
  return true;
}

bool Ledger::Take(Kind kind, int64_t bytes) {
  return Take({{Amount{kind, bytes}}});
}

bool Ledger::Take(absl::Span<const Amount> amounts) {
  int64_t bytes = 0;
  for (const Amount& amount : amounts) {
    bytes = core::SaturatingAdd(bytes, amount.bytes);
  }
  if (!TakeHeld(bytes)) {
    if (give_back_ == nullptr || held(Kind::kIdleBuffers) == 0) return false;
    give_back_();
    if (!TakeHeld(bytes)) return false;
  }
  for (const Amount& amount : amounts) Add(amount.kind, amount.bytes);
  return true;
}

void Ledger::Count(Kind kind, int64_t bytes) {
  held_.fetch_add(bytes, std::memory_order_relaxed);
  Add(kind, bytes);
}

void Ledger::Give(Kind kind, int64_t bytes) { Count(kind, -bytes); }

void Ledger::Give(absl::Span<const Amount> amounts) {
  int64_t bytes = 0;
  for (const Amount& amount : amounts) {
    bytes += amount.bytes;
    Add(amount.kind, -amount.bytes);
  }
  held_.fetch_sub(bytes, std::memory_order_relaxed);
}

namespace {

constexpr absl::string_view kFigures = "attention/not_lent";

std::string Words(const Ledger& ledger, const NotLentFigures& figures,
                  int64_t before) {
  const std::string takes = absl::StrCat("takes ", figures.needed, " bytes");
  if (figures.needed > figures.lendable) {
    return absl::StrCat(takes, ", more than the ", figures.lendable,
                        " that may be lent of --memory-limit, ", ledger.limit(),
                        " less an eighth");
  }
  return absl::StrCat(takes, " and ", ledger.held() - before,
                      " are held beside it, together more than the ",
                      figures.lendable, " that may be lent of --memory-limit, ",
                      ledger.limit(), " less an eighth");
}

absl::Status WithFigures(absl::Status status, const NotLentFigures& figures) {
  status.SetPayload(kFigures, absl::Cord(absl::StrCat(figures.needed, " ",
                                                      figures.lendable)));
  return status;
}

NotLentFigures FiguresFor(const Ledger& ledger, int64_t before, int64_t bytes) {
  return {core::SaturatingAdd(before, bytes), ledger.lendable()};
}

}  // namespace

absl::Status NotLent(const Ledger& ledger, absl::string_view subject,
                     int64_t before, int64_t bytes) {
  const NotLentFigures figures = FiguresFor(ledger, before, bytes);
  return WithFigures(absl::ResourceExhaustedError(absl::StrCat(
                         subject, " ", Words(ledger, figures, before))),
                     figures);
}

absl::Status FieldNotLent(const Ledger& ledger, absl::string_view field,
                          int64_t before, int64_t bytes) {
  const NotLentFigures figures = FiguresFor(ledger, before, bytes);
  return WithFigures(
      FieldError(absl::StatusCode::kResourceExhausted, std::string(field),
                 Words(ledger, figures, before)),
      figures);
}

std::optional<NotLentFigures> FiguresOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kFigures);
  if (!payload) return std::nullopt;
  const std::vector<std::string> texts =
      absl::StrSplit(std::string(*payload), ' ');
  NotLentFigures figures{};
  static_cast<void>(absl::SimpleAtoi(texts[0], &figures.needed));
  static_cast<void>(absl::SimpleAtoi(texts[1], &figures.lendable));
  return figures;
}

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

absl::Status Loan::TakeFor(absl::string_view field, int64_t more) {
  if (Take(more)) return absl::OkStatus();
  return FieldNotLent(*ledger_, field, bytes_, more);
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
