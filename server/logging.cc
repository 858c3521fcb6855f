#include "server/logging.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/support/log.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <future>
#include <memory>
#include <thread>

#include "server/rpc/door/line_limit.h"

namespace attention::server {
namespace {

constexpr size_t kQueuedLines = 8192;

// How long the last lines may take to be written. A reader that lives takes
// milliseconds.
constexpr std::chrono::seconds kLastWords(1);

// Of gRPC's lines in one second: each handshake that fails is one, say.
constexpr int64_t kGrpcLinesPerSecond = 10;

void LogForGrpc(gpr_log_func_args* line) {
  if (line->severity != GPR_LOG_SEVERITY_ERROR) {
    spdlog::debug("grpc: {}", line->message);
    return;
  }
  static rpc::LineLimit lines(kGrpcLinesPerSecond);
  const rpc::LineLimit::Verdict verdict = lines.Ask();
  if (!verdict.write) return;
  if (verdict.left_out > 0) {
    spdlog::warn("grpc: {} lines before this one were left out: {} a second",
                 verdict.left_out, kGrpcLinesPerSecond);
  }
  spdlog::warn("grpc: {}", line->message);
}

// protobuf tells on its own what is wrong with bytes that a client sent; the
// client is told anyway.
void LogForProtobuf(google::protobuf::LogLevel, const char*, int,
                    const std::string& message) {
  spdlog::debug("protobuf: {}", message);
}

}  // namespace

void StartLogging(const std::string& level) {
  spdlog::init_thread_pool(kQueuedLines, 1);
  const auto logger = std::make_shared<spdlog::async_logger>(
      "attention-server", std::make_shared<spdlog::sinks::stderr_sink_mt>(),
      spdlog::thread_pool(), spdlog::async_overflow_policy::overrun_oldest);
  logger->set_level(spdlog::level::from_str(level));
  logger->flush_on(spdlog::level::info);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  spdlog::set_default_logger(logger);
  gpr_set_log_function(LogForGrpc);
  google::protobuf::SetLogHandler(LogForProtobuf);
}

bool StopLogging() {
  gpr_set_log_function(nullptr);
  google::protobuf::SetLogHandler(nullptr);
  auto written = std::make_shared<std::promise<void>>();
  std::future<void> done = written->get_future();
  // Joins spdlog's own thread, which may be in a write that never ends.
  std::thread([written] {
    spdlog::shutdown();
    written->set_value();
  }).detach();
  return done.wait_for(kLastWords) == std::future_status::ready;
}

}  // namespace attention::server
