#include "client/cpp/cli/cli_status.h"

#include <algorithm>
#include <new>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "attention/status.h"
#include "client/cpp/tls_fault.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

// Marks an error that is of this program's making, so its code says nothing.
constexpr absl::string_view kUsagePayload = "attention/usage";
constexpr absl::string_view kCheckPayload = "attention/check";

absl::Status Marked(absl::string_view payload, absl::string_view message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(payload, absl::Cord());
  return status;
}

bool IsMarked(const absl::Status& status, absl::string_view payload) {
  return status.GetPayload(payload).has_value();
}

// What the fields of a refused request are called here.
std::string Fields(const absl::Status& status) {
  std::string fields;
  for (const FieldViolation& violation : FieldViolations(status)) {
    if (!absl::StrContains(status.message(), violation.field)) {
      absl::StrAppend(&fields, violation.field, " ", violation.description,
                      "; ");
    }
  }
  return fields;
}

// The flags that may cure it.
absl::string_view TlsCure(TlsFault fault) {
  switch (fault) {
    case TlsFault::kNone:
      return "";
    case TlsFault::kServerIsPlain:
      return " (leave out the --tls flags and ATTENTION_TLS...)";
    case TlsFault::kServerMayBeTls:
      return " (speak TLS with --tls, or --tls-ca for an authority of your "
             "own)";
    case TlsFault::kServerUntrusted:
      return " (name its authority with --tls-ca)";
    case TlsFault::kServerName:
      return " (say which with --tls-server-name)";
    case TlsFault::kClientCertificate:
      return " (show one with --tls-cert and --tls-key)";
  }
  return "";
}

std::string Cure(const absl::Status& status, const std::string& target,
                 bool tls) {
  if (const TlsFault fault = FindTlsFault(status, tls);
      fault != TlsFault::kNone) {
    return std::string(TlsCure(fault));
  }
  if (status.code() == absl::StatusCode::kUnavailable) {
    return absl::StrCat(" (is a server running at ", target,
                        "? start attention-server, or name another with "
                        "--target or ATTENTION_TARGET)");
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded) {
    return " (allow more time with --deadline)";
  }
  if (const auto delay = RetryDelay(status); delay.has_value()) {
    return absl::StrFormat(" (try again in %.1f s)",
                           std::chrono::duration<double>(*delay).count());
  }
  return "";
}

}  // namespace

absl::Status UsageError(absl::string_view message) {
  return Marked(kUsagePayload, message);
}

absl::Status CheckError(absl::string_view message) {
  return Marked(kCheckPayload, message);
}

absl::Status WithinMemory(absl::FunctionRef<absl::Status()> body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return UsageError(
        "out of memory: what was read does not fit into what is left of it; "
        "expected smaller files, or fewer of them");
  }
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kExitOk;
  if (IsMarked(status, kUsagePayload)) return kExitUsage;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitNoAnswer;
    default:
      return kExitRefused;
  }
}

nlohmann::ordered_json ErrorJson(const absl::Status& status) {
  std::string code = absl::StatusCodeToString(status.code());
  if (IsMarked(status, kUsagePayload)) code = "USAGE";
  if (IsMarked(status, kCheckPayload)) code = "CHECK";
  nlohmann::ordered_json error = {
      {"code", code},
      {"message", std::string(status.message())},
      {"violations", nlohmann::ordered_json::array()}};
  for (const FieldViolation& violation : FieldViolations(status)) {
    error["violations"].push_back(
        {{"field", violation.field}, {"description", violation.description}});
  }
  return error;
}

std::string ErrorLine(const absl::Status& status, const std::string& target,
                      bool tls) {
  std::string line = "attention: ";
  if (IsMarked(status, kUsagePayload) || IsMarked(status, kCheckPayload)) {
    absl::StrAppend(&line, status.message());
  } else {
    absl::StrAppend(&line, absl::StatusCodeToString(status.code()), ": ",
                    Fields(status), status.message(),
                    Cure(status, target, tls));
  }
  // A server's message may be anything; here it is one line.
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return line;
}

}  // namespace attention::client
