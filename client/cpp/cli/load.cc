#include "client/cpp/cli/load.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/table.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr double kPercents[] = {50, 90, 99, 99.9, 100};

double Milliseconds(nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

// The figures in the order they are shown, absent ones empty.
std::vector<std::pair<std::string, std::optional<double>>> Figures(
    const LoadPlan& plan, const LoadReport& report) {
  std::vector<std::pair<std::string, std::optional<double>>> figures = {
      {"concurrency", plan.concurrency},
      {"rate", plan.rate},
      {"answers", report.answers()},
      {"failures", report.failures()},
      {"seconds", std::chrono::duration<double>(report.elapsed).count()},
      {"answers_per_second", report.throughput()}};
  const auto add = [&](const std::string& name,
                       std::optional<nanoseconds> time) {
    figures.emplace_back(
        name, time ? std::optional(Milliseconds(*time)) : std::nullopt);
  };
  add("mean_ms", report.Mean());
  for (const double percent : kPercents) {
    add(percent == 100 ? "max_ms" : absl::StrCat("p", percent, "_ms"),
        report.Percentile(percent));
  }
  return figures;
}

// Counts for one thread, put together at the end.
struct Counted {
  std::vector<nanoseconds> latencies;
  std::map<absl::StatusCode, int64_t> errors;
  std::string first_error;
  Clock::time_point last = Clock::time_point::min();
};

void Count(const absl::Status& status, nanoseconds latency, Counted& counted) {
  if (status.ok()) {
    counted.latencies.push_back(latency);
  } else if (counted.errors[status.code()]++ == 0 &&
             counted.first_error.empty()) {
    counted.first_error = std::string(status.message());
  }
}

}  // namespace

int64_t LoadReport::failures() const {
  return std::accumulate(
      errors.begin(), errors.end(), int64_t{0},
      [](int64_t sum, const auto& error) { return sum + error.second; });
}

double LoadReport::throughput() const {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  return seconds > 0 ? static_cast<double>(answers()) / seconds : 0;
}

std::optional<nanoseconds> LoadReport::Percentile(double percent) const {
  if (latencies.empty()) return std::nullopt;
  const auto count = static_cast<double>(latencies.size());
  // The division last: 99.9% of 1000 must not become rank 1000 by rounding up.
  const double rank = std::ceil(percent * count / 100);
  const auto last = latencies.size() - 1;
  return latencies[std::min(last, static_cast<size_t>(rank) - 1)];
}

std::optional<nanoseconds> LoadReport::Mean() const {
  if (latencies.empty()) return std::nullopt;
  const nanoseconds sum =
      std::accumulate(latencies.begin(), latencies.end(), nanoseconds(0));
  return sum / answers();
}

LoadReport RunLoad(const LoadPlan& plan,
                   const std::function<absl::Status()>& call) {
  const Clock::time_point start = Clock::now();
  const Clock::time_point counts_from = start + plan.warmup;
  const Clock::time_point end = counts_from + plan.duration;
  std::atomic<int64_t> next{0};
  // When the next request is due; now, without a rate.
  const auto due = [&] {
    if (!plan.rate) return Clock::now();
    const double seconds = static_cast<double>(next.fetch_add(1)) / *plan.rate;
    return start + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(seconds));
  };
  std::vector<Counted> counted(static_cast<size_t>(plan.concurrency));
  std::vector<std::thread> threads;
  threads.reserve(counted.size());
  for (Counted& mine : counted) {
    threads.emplace_back([&] {
      while (true) {
        const Clock::time_point begun = due();
        if (begun >= end) return;
        std::this_thread::sleep_until(begun);
        const absl::Status status = call();
        const Clock::time_point answered = Clock::now();
        if (begun < counts_from) continue;
        Count(status, answered - begun, mine);
        mine.last = answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();

  LoadReport report;
  Clock::time_point last = counts_from;
  for (Counted& mine : counted) {
    report.latencies.insert(report.latencies.end(), mine.latencies.begin(),
                            mine.latencies.end());
    for (const auto& [code, count] : mine.errors) report.errors[code] += count;
    if (report.first_error.empty()) report.first_error = mine.first_error;
    last = std::max(last, mine.last);
  }
  std::sort(report.latencies.begin(), report.latencies.end());
  report.elapsed = last - counts_from;
  return report;
}

std::string LoadTable(const std::string& label, const LoadPlan& plan,
                      const LoadReport& report) {
  std::vector<std::vector<std::string>> rows = {{"request", label}};
  for (const auto& [name, figure] : Figures(plan, report)) {
    if (figure) rows.push_back({name, absl::StrFormat("%.6g", *figure)});
  }
  for (const auto& [code, count] : report.errors) {
    rows.push_back({absl::StatusCodeToString(code), absl::StrCat(count)});
  }
  if (!report.first_error.empty()) {
    rows.push_back({"first error", report.first_error});
  }
  return TextTable(rows);
}

std::string LoadCsv(const std::string& label, const LoadPlan& plan,
                    const LoadReport& report) {
  std::string heading = "request";
  std::string line = label;
  for (const auto& [name, figure] : Figures(plan, report)) {
    absl::StrAppend(&heading, ",", name);
    absl::StrAppend(&line, ",", figure ? absl::StrFormat("%.6g", *figure) : "");
  }
  return absl::StrCat(heading, "\n", line, "\n");
}

std::string LoadJson(const std::string& label, const LoadPlan& plan,
                     const LoadReport& report) {
  nlohmann::ordered_json json = {{"request", label}};
  for (const auto& [name, figure] : Figures(plan, report)) {
    if (figure) json[name] = *figure;
  }
  for (const auto& [code, count] : report.errors) {
    json["errors"][absl::StatusCodeToString(code)] = count;
  }
  return PrettyJson(json);
}

}  // namespace attention::client
