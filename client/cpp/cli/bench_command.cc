// `attention bench`.
#include <chrono>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/compute_flags.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/load.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

enum class ReportFormat { kTable, kCsv, kJson };

struct BenchFlags {
  RequestFlags request;
  std::vector<int64_t> shape = {6, 2};
  int concurrency = 1;
  std::optional<double> rate;
  double seconds = 10;
  double warmup_seconds = 1;
  ReportFormat format = ReportFormat::kTable;
  bool json = false;
  std::string out;
};

constexpr char kFooter[] =
    R"(--concurrency alone keeps that many calls without an answer at all times (closed
loop). --rate begins calls on a schedule, whether or not the ones before are
answered (open loop), with at most --concurrency at one time; the latency then
counts from when a call was due, so that a server that falls behind shows it.
Percentiles are exact: every latency is kept and sorted.

Examples:
  attention bench --duration 1
  attention bench --shape 64,32 --concurrency 8 --duration 1 --format csv
  attention bench --query tokens.csv --weight-set layer --rate 100 \
      --duration 1 --json)";

std::chrono::nanoseconds Seconds(double seconds) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
      std::chrono::duration<double>(seconds));
}

// A query of this shape with elements that differ from each other.
absl::StatusOr<v1::Tensor> WaveOf(const std::vector<int64_t>& shape,
                                  v1::DataType dtype) {
  int64_t count = 1;
  for (const int64_t axis : shape) {
    if (axis < 1 || __builtin_mul_overflow(count, axis, &count) ||
        count > int64_t{1} << 28) {
      return UsageError(
          "--shape: expected axes of at least 1 with a product "
          "of at most 2^28");
    }
  }
  std::vector<double> elements(static_cast<size_t>(count));
  for (size_t i = 0; i < elements.size(); ++i) {
    elements[i] = std::sin(0.7 * static_cast<double>(i));
  }
  return MakeTensor(elements, shape, dtype);
}

absl::Status Bench(const BenchFlags& flags, const Connection& connection) {
  v1::ComputeAttentionRequest request;
  if (flags.request.request.empty() && flags.request.tensors.query.empty()) {
    auto query =
        WaveOf(flags.shape,
               flags.request.tensors.dtype.value_or(v1::DATA_TYPE_FLOAT32));
    if (!query.ok()) return query.status();
    *request.mutable_query() = *std::move(query);
    absl::Status status =
        ApplyRequestFlags(flags.request, /*stdin_is_taken=*/false, request);
    if (!status.ok()) return status;
  } else {
    auto built = BuildRequest(flags.request);
    if (!built.ok()) return built.status();
    request = *std::move(built);
  }
  const std::string label =
      absl::StrCat("query ", absl::StrJoin(request.query().shape(), "x"), " (",
                   request.ByteSizeLong(), " bytes)");
  const auto call = [&] {
    return connection.client.ComputeAttention(request, connection.Options())
        .status();
  };
  // Connects, and tells of a request that would be refused every time.
  if (absl::Status first = call(); !first.ok()) return first;

  const LoadPlan plan{flags.concurrency, flags.rate,
                      Seconds(flags.warmup_seconds), Seconds(flags.seconds)};
  const LoadReport report = RunLoad(plan, call);
  const auto write = [&](const std::string& text) {
    return WriteFile(flags.out.empty() ? "-" : flags.out, text);
  };
  absl::Status written = absl::OkStatus();
  switch (flags.json ? ReportFormat::kJson : flags.format) {
    case ReportFormat::kTable:
      written = write(LoadTable(label, plan, report));
      break;
    case ReportFormat::kCsv:
      written = write(LoadCsv(label, plan, report));
      break;
    case ReportFormat::kJson:
      written = write(LoadJson(label, plan, report));
      break;
  }
  if (!written.ok() || report.failures() == 0) return written;
  return CheckError(absl::StrCat(
      report.failures(), " of ", report.failures() + report.answers(),
      " calls failed; the first: ", report.first_error));
}

}  // namespace

void AddBenchCommand(CLI::App& app, Action& action) {
  CLI::App& command = *app.add_subcommand(
      "bench", "Measure latency and throughput of one request, repeated");
  command.footer(kFooter);
  const auto flags = std::make_shared<BenchFlags>();
  constexpr char kGroup[] = "Load";
  command
      .add_option("--concurrency", flags->concurrency,
                  "calls without an answer at one time, a thread for each")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--rate", flags->rate, "calls per second; absent: no bound")
      ->check(AboveZero())
      ->group(kGroup);
  command.add_option("--duration", flags->seconds, "how long to measure")
      ->type_name("SECONDS")
      ->check(AboveZero())
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--warmup", flags->warmup_seconds,
                  "how long to send before that")
      ->type_name("SECONDS")
      ->check(AtLeastZero())
      ->capture_default_str()
      ->group(kGroup);
  command
      .add_option("--shape", flags->shape,
                  "of a made-up query, if neither --query nor --request is "
                  "there")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->capture_default_str()
      ->group(kGroup);
  CLI::Option* format =
      AddWordOption(
          command, "--format", flags->format, "of the report; absent: table",
          std::map<std::string, ReportFormat>{{"table", ReportFormat::kTable},
                                              {"csv", ReportFormat::kCsv},
                                              {"json", ReportFormat::kJson}})
          ->group(kGroup);
  command.add_flag("--json", flags->json, "the same as --format json")
      ->excludes(format)
      ->group(kGroup);
  command.add_option("--out", flags->out, "write the report there")
      ->type_name("FILE|-")
      ->group(kGroup);
  AddRequestFlags(command, flags->request);
  command.callback([flags, &action] {
    action = [flags](const Connection& connection) {
      return Bench(*flags, connection);
    };
  });
}

}  // namespace attention::client
