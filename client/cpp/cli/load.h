// Many requests against a server, and what they took.
#ifndef CLIENT_CPP_CLI_LOAD_H_
#define CLIENT_CPP_CLI_LOAD_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace attention::client {

// How requests follow each other.
struct LoadPlan {
  // Requests without an answer at one time. Without `rate` as many all the
  // time, each following the answer to one before it (a closed loop); with it
  // at most.
  int concurrency = 1;
  // Requests per second, on a schedule that does not wait for answers (an open
  // loop). The latency of a request then counts from when it was due, so that
  // a server that falls behind does not make its own figures look better.
  std::optional<double> rate;
  // Not counted, first.
  std::chrono::nanoseconds warmup{};
  // Requests that are begun this long after the warm-up are not begun.
  std::chrono::nanoseconds duration{};
};

// What was measured.
struct LoadReport {
  std::vector<std::chrono::nanoseconds> latencies;  // of answers, ascending
  std::map<absl::StatusCode, int64_t> errors;       // answers that were none
  std::string first_error;
  std::chrono::nanoseconds elapsed{};  // from the warm-up to the last answer

  int64_t answers() const { return static_cast<int64_t>(latencies.size()); }
  int64_t failures() const;
  // Answers per second.
  double throughput() const;
  // The latency that `percent` of all answers did not exceed, by nearest rank
  // over all of them; nothing without answers. REQUIRES: 0 < percent <= 100.
  std::optional<std::chrono::nanoseconds> Percentile(double percent) const;
  std::optional<std::chrono::nanoseconds> Mean() const;
};

// Calls `call`, which blocks until its answer is there, from `plan.concurrency`
// threads.
LoadReport RunLoad(const LoadPlan& plan,
                   const std::function<absl::Status()>& call);

// One line for each figure; one line of CSV under a heading; JSON. `label` is
// what was sent.
std::string LoadTable(const std::string& label, const LoadPlan& plan,
                      const LoadReport& report);
std::string LoadCsv(const std::string& label, const LoadPlan& plan,
                    const LoadReport& report);
std::string LoadJson(const std::string& label, const LoadPlan& plan,
                     const LoadReport& report);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_LOAD_H_
