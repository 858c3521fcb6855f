// attention-server: wires the parts together.
#include <grpc/grpc.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "server/blas_check.h"
#include "server/config.h"
#include "server/core/blas/kernels.h"
#include "server/logging.h"
#include "server/port_file.h"
#include "server/reservation.h"
#include "server/rpc/door/call.h"
#include "server/scheduling.h"
#include "server/server.h"
#include "server/shutdown.h"
#include "server/stop_signals.h"
#include "server/version.h"

namespace attention::server {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "attention-server: %s\n",
               std::string(status.message()).c_str());
  return 1;
}

const char* TlsWord(const TlsFiles& tls) {
  if (!tls.enabled()) return "plain text";
  return tls.client_ca.empty() ? "TLS" : "mutual TLS";
}

void ServeUntilStopped(const StopSignals& signals, const Config& config,
                       Server& server) {
  spdlog::info("{} received", strsignal(signals.Wait()));
  using Seconds = std::chrono::duration<double>;
  ShutDown(
      {Seconds(config.drain_delay_seconds),
       Seconds(config.shutdown_grace_seconds)},
      [&signals](std::chrono::milliseconds time) {
        return signals.WaitFor(time);
      },
      server);
  rpc::Call::LogLeftOut();
}

int Serve(const StopSignals& signals, const Config& config,
          const core::BlasReport& blas, Reservation reservation) {
  spdlog::log(blas.fell_back ? spdlog::level::warn : spdlog::level::info,
              "OpenBLAS took its kernel {} and runs {}: {}",
              blas.library_kernel, blas.kernel, blas.kernel_because);
  if (!blas.not_deterministic_because.empty()) {
    spdlog::warn("results may differ in their last bits: {}",
                 blas.not_deterministic_because);
  }
  absl::StatusOr<std::unique_ptr<Server>> server =
      Server::Start(config, {kVersion, blas}, std::move(reservation));
  if (!server.ok()) return Fail(server.status());
  PortFile port_file(config.port_file);
  absl::Status written = port_file.Write((*server)->port());
  if (!written.ok()) return Fail(written);
  spdlog::info("attention-server {} listens on {} ({}, {} threads, {})",
               kVersion, absl::StrJoin((*server)->addresses(), ", "),
               TlsWord(config.tls), (*server)->compute_threads(), blas.config);
  spdlog::info("weight sets are kept in {}; {} MiB of memory may be held",
               config.store, (*server)->ledger().limit() >> 20);
  ServeUntilStopped(signals, config, **server);
  return 0;
}

int Main(int argc, char** argv) {
  if (const std::optional<int> code = RunAsBlasChild(argc, argv)) return *code;
  IgnoreOtherSignals();
  const CommandLine line = ParseCommandLine(argc, argv);
  std::fputs(line.output.c_str(), stdout);
  std::fputs(line.error.c_str(), stderr);
  if (!line.config) return line.exit_code;
  // First, so that who cannot have its port or store is told at once.
  absl::StatusOr<Reservation> reservation = Reserve(*line.config);
  if (!reservation.ok()) return Fail(reservation.status());
  const absl::StatusOr<core::BlasReport> blas =
      CheckBlas(argv, [&reservation] { LeaveToNextStart(*reservation); });
  if (!blas.ok()) return Fail(blas.status());
  const StopSignals signals;
  PreferThroughput();  // before there are other threads
  // A use of gRPC that does not end: when the last one does, gRPC 1.51 waits up
  // to 10 s for a poller of its own, though every call has been answered.
  grpc_init();
  // Debian's absl is one with assertions: without this, each lock and unlock
  // inside gRPC records a stack trace to look for a cycle of locks.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  StartLogging(line.config->log_level);
  const int code = Serve(signals, *line.config, *blas, *std::move(reservation));
  if (!StopLogging()) std::_Exit(code);  // nobody reads what is left
  return code;
}

}  // namespace
}  // namespace attention::server

int main(int argc, char** argv) { return attention::server::Main(argc, argv); }
