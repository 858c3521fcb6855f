#include "client/cpp/cli/load.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using ::testing::HasSubstr;

LoadReport WithLatencies(int count) {
  LoadReport report;
  for (int i = 1; i <= count; ++i) report.latencies.emplace_back(i);
  report.elapsed = std::chrono::seconds(2);
  return report;
}

TEST(LoadReport, PercentileIsTheNearestRank) {
  const LoadReport report = WithLatencies(1000);
  EXPECT_EQ(report.Percentile(50), nanoseconds(500));
  EXPECT_EQ(report.Percentile(99), nanoseconds(990));
  EXPECT_EQ(report.Percentile(99.9), nanoseconds(999));
  EXPECT_EQ(report.Percentile(100), nanoseconds(1000));
  EXPECT_EQ(report.Percentile(0.0001), nanoseconds(1));
  EXPECT_EQ(WithLatencies(3).Percentile(50), nanoseconds(2));
  EXPECT_EQ(WithLatencies(1).Percentile(99.9), nanoseconds(1));
}

TEST(LoadReport, NothingIsMeasuredOfNothing) {
  const LoadReport report;
  EXPECT_FALSE(report.Percentile(50).has_value());
  EXPECT_FALSE(report.Mean().has_value());
  EXPECT_EQ(report.throughput(), 0);
}

TEST(LoadReport, ThroughputCountsAnswersPerSecond) {
  EXPECT_EQ(WithLatencies(1000).throughput(), 500);
  EXPECT_EQ(WithLatencies(3).Mean(), nanoseconds(2));
}

TEST(RunLoad, ClosedLoopKeepsTheConcurrencyAndNoMore) {
  LoadPlan plan;
  plan.concurrency = 3;
  plan.duration = milliseconds(100);
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  std::atomic<int64_t> calls{0};
  const LoadReport report = RunLoad(plan, [&] {
    const int in_flight = ++now;
    int seen = most;
    while (in_flight > seen && !most.compare_exchange_weak(seen, in_flight)) {
    }
    ++calls;
    std::this_thread::sleep_for(milliseconds(1));
    --now;
    return absl::OkStatus();
  });
  EXPECT_EQ(most, 3);
  EXPECT_EQ(report.answers(), calls);
  EXPECT_GE(*report.Percentile(1), milliseconds(1));
  EXPECT_GE(report.elapsed, milliseconds(1));
}

TEST(RunLoad, OpenLoopBeginsWhatIsDueAndNoMore) {
  LoadPlan plan;
  plan.concurrency = 4;
  plan.rate = 200;
  plan.duration = milliseconds(250);
  const LoadReport report = RunLoad(plan, [] { return absl::OkStatus(); });
  // Due at 0, 5, .. 245 ms.
  EXPECT_EQ(report.answers(), 50);
}

TEST(RunLoad, LatencyOfAnOpenLoopCountsFromWhenACallWasDue) {
  LoadPlan plan;
  plan.concurrency = 1;
  plan.rate = 1000;
  plan.duration = milliseconds(20);
  // Each takes ten times as long as there is between two of them.
  const LoadReport report = RunLoad(plan, [] {
    std::this_thread::sleep_for(milliseconds(10));
    return absl::OkStatus();
  });
  ASSERT_EQ(report.answers(), 20);
  // The last was due after 19 ms and answered after 200.
  EXPECT_GE(*report.Percentile(100), milliseconds(200 - 19));
}

TEST(RunLoad, WarmupIsNotCounted) {
  LoadPlan plan;
  plan.rate = 100;
  plan.warmup = milliseconds(100);
  plan.duration = milliseconds(100);
  std::atomic<int64_t> calls{0};
  const LoadReport report = RunLoad(plan, [&] {
    ++calls;
    return absl::OkStatus();
  });
  EXPECT_EQ(calls, 20);
  EXPECT_EQ(report.answers(), 10);
}

TEST(RunLoad, FailuresAreCountedByCode) {
  LoadPlan plan;
  plan.rate = 100;
  plan.duration = milliseconds(100);
  std::atomic<int> calls{0};
  const LoadReport report = RunLoad(plan, [&] {
    return ++calls % 2 == 0 ? absl::OkStatus() : absl::UnavailableError("gone");
  });
  EXPECT_EQ(report.answers(), 5);
  EXPECT_EQ(report.failures(), 5);
  EXPECT_EQ(report.errors.at(absl::StatusCode::kUnavailable), 5);
  EXPECT_EQ(report.first_error, "gone");
}

TEST(LoadText, EveryFormHasTheSameFigures) {
  LoadPlan plan;
  plan.concurrency = 7;
  LoadReport report = WithLatencies(4);
  report.errors[absl::StatusCode::kUnavailable] = 2;
  const auto json = nlohmann::json::parse(LoadJson("label", plan, report));
  EXPECT_EQ(json["request"], "label");
  EXPECT_EQ(json["concurrency"], 7);
  EXPECT_FALSE(json.contains("rate"));
  EXPECT_EQ(json["answers_per_second"], 2);
  EXPECT_EQ(json["p50_ms"], 2e-6);
  EXPECT_EQ(json["max_ms"], 4e-6);
  EXPECT_EQ(json["errors"]["UNAVAILABLE"], 2);
  EXPECT_EQ(LoadCsv("label", plan, report),
            "request,concurrency,rate,answers,failures,seconds,"
            "answers_per_second,mean_ms,p50_ms,p90_ms,p99_ms,p99.9_ms,max_ms\n"
            "label,7,,4,2,2,2,2e-06,2e-06,4e-06,4e-06,4e-06,4e-06\n");
  const std::string table = LoadTable("label", plan, report);
  EXPECT_THAT(table, HasSubstr("p99.9_ms"));
  EXPECT_THAT(table, HasSubstr("UNAVAILABLE"));
}

}  // namespace
}  // namespace attention::client
