#include "server/open_calls.h"

#include <grpc/grpc.h>
#include <grpc/support/alloc.h>

#include <memory>
#include <string>

#include "absl/strings/numbers.h"
#include "nlohmann/json.hpp"

namespace attention::server {
namespace {

// 64-bit numbers are strings in protobuf's JSON, and those that are 0 absent.
int64_t Number(const nlohmann::json& data, const char* name) {
  int64_t number = 0;
  const auto found = data.find(name);
  if (found == data.end() || !found->is_string() ||
      !absl::SimpleAtoi(found->get<std::string>(), &number)) {
    return 0;
  }
  return number;
}

}  // namespace

OpenCalls CountOpenCalls() {
  OpenCalls calls;
  const std::unique_ptr<char, decltype(&gpr_free)> text(
      grpc_channelz_get_servers(/*start_server_id=*/0), &gpr_free);
  if (text == nullptr) return calls;
  const nlohmann::json answer =
      nlohmann::json::parse(text.get(), nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) return calls;
  for (const nlohmann::json& server :
       answer.value("server", nlohmann::json::array())) {
    const nlohmann::json data = server.value("data", nlohmann::json::object());
    calls.begun += Number(data, "callsStarted");
    calls.ended += Number(data, "callsSucceeded") + Number(data, "callsFailed");
  }
  return calls;
}

}  // namespace attention::server
