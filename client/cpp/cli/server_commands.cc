// `attention info` and `attention health`.
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/commands.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/table.h"
#include "google/protobuf/util/time_util.h"

namespace attention::client {
namespace {

std::string InfoTable(const v1::GetServerInfoResponse& info) {
  std::vector<std::vector<std::string>> rows = {
      {"version", info.version()},
      {"compute_threads", absl::StrCat(info.compute_threads())},
      {"vector target", info.vector_target()},
      {"blas", info.blas().config()},
      {"blas kernel", info.blas().kernel()},
      {"blas fell back", info.blas().fell_back() ? "yes" : "no"},
      {"deterministic",
       info.blas().deterministic()
           ? "yes"
           : "no: " + info.blas().not_deterministic_because()}};
  if (info.features_size() > 0) {
    rows.push_back({"features", absl::StrJoin(info.features(), ", ")});
  }
  const auto add_limit = [&](const std::string& name, int64_t limit) {
    rows.push_back({name, absl::StrCat(limit)});
  };
  const v1::Limits& limits = info.limits();
  add_limit("max_message_bytes", limits.max_message_bytes());
  add_limit("max_result_bytes", limits.max_result_bytes());
  add_limit("max_workspace_bytes", limits.max_workspace_bytes());
  add_limit("max_multiply_adds", limits.max_multiply_adds());
  add_limit("max_axis", limits.max_axis());
  add_limit("max_requests_in_flight", limits.max_requests_in_flight());
  add_limit("max_bytes_in_flight", limits.max_bytes_in_flight());
  add_limit("max_stream_in_flight", limits.max_stream_in_flight());
  add_limit("max_weight_set_bytes", limits.max_weight_set_bytes());
  rows.push_back({"max_upload_idle", google::protobuf::util::TimeUtil::ToString(
                                         limits.max_upload_idle())});
  return TextTable(rows);
}

absl::Status Info(bool json, const Connection& connection) {
  const auto info = connection.client.GetServerInfo(connection.Options());
  if (!info.ok()) return info.status();
  return WriteFile("-", json ? MessageToJson(*info) : InfoTable(*info));
}

absl::Status Health(bool json, const Connection& connection) {
  const auto serving = connection.client.IsServing(connection.Options());
  if (!serving.ok()) return serving.status();
  if (!*serving) {
    return CheckError("the server is NOT_SERVING");
  }
  return WriteFile("-",
                   json ? PrettyJson({{"status", "SERVING"}}) : "SERVING\n");
}

}  // namespace

void AddInfoCommand(CLI::App& app, Action& action) {
  CLI::App& command =
      *app.add_subcommand("info", "Show what the server is and its limits");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "print a GetServerInfoResponse as JSON");
  command.footer(R"(Examples:
  attention info
  attention info --json)");
  command.callback([json, &action] {
    action = [json](const Connection& connection) {
      return Info(*json, connection);
    };
  });
}

void AddHealthCommand(CLI::App& app, Action& action) {
  CLI::App& command =
      *app.add_subcommand("health", "Ask whether the server takes requests");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, R"(print {"status": "SERVING"})");
  command.footer(
      R"(Prints SERVING and ends with 0, or says what is wrong and ends with another
exit code: 1 where the server answers that it is not serving, 3 where nothing
answers.

Examples:
  attention health
  attention health --json --deadline 2
  until attention health --deadline 1s; do sleep 1; done)");
  command.callback([json, &action] {
    action = [json](const Connection& connection) {
      return Health(*json, connection);
    };
  });
}

}  // namespace attention::client
