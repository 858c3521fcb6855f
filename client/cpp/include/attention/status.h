// What an error of the service says beyond its code and message.
#ifndef ATTENTION_STATUS_H_
#define ATTENTION_STATUS_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace attention::client {

// One field of the request that was refused.
struct FieldViolation {
  std::string field;        // its path, such as "key.shape[2]"
  std::string description;  // what was expected and what came
};

// The fields a call was refused for; empty if the server named none.
std::vector<FieldViolation> FieldViolations(const absl::Status& status);

// How long to wait before trying again; nothing if the server did not say that
// it would help.
std::optional<std::chrono::nanoseconds> RetryDelay(const absl::Status& status);

}  // namespace attention::client

#endif  // ATTENTION_STATUS_H_
