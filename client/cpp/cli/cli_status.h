// Errors of the command line and the exit codes they end in.
#ifndef CLIENT_CPP_CLI_CLI_STATUS_H_
#define CLIENT_CPP_CLI_CLI_STATUS_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json_fwd.hpp"

namespace attention::client {

enum ExitCode {
  kExitOk = 0,
  kExitRefused = 1,   // the server refused, or a number of the demo is off
  kExitUsage = 2,     // the command line or a file is at fault
  kExitNoAnswer = 3,  // no server there, it is shutting down, or the deadline
                      // (130 is a signal's: see ReportInterrupts)
};

// An error in what was typed or in a file.
absl::Status UsageError(absl::string_view message);

// A number or a state that is not what it should be; ends in kExitRefused.
absl::Status CheckError(absl::string_view message);

// What `body` returns. Memory that is not to be had, which a file may ask for,
// is an error of usage.
absl::Status WithinMemory(absl::FunctionRef<absl::Status()> body);

ExitCode ExitCodeOf(const absl::Status& status);

// {"code", "message", "violations": [{"field", "description"}]}; code is that
// of the server, USAGE or CHECK.
nlohmann::ordered_json ErrorJson(const absl::Status& status);

// `status` for the terminal: one line, with what to do about it. `tls` is
// whether this end speaks TLS to `target`.
std::string ErrorLine(const absl::Status& status, const std::string& target,
                      bool tls = false);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_CLI_STATUS_H_
