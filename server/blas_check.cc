#include "server/blas_check.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "server/core/blas.h"
#include "server/core/blas_self_test.h"

namespace attention::server {
namespace {

constexpr char kSelf[] = "/proc/self/exe";
constexpr char kThreadsVariable[] = "OPENBLAS_NUM_THREADS";
constexpr char kKernelVariable[] = "OPENBLAS_CORETYPE";
constexpr char kSafeKernel[] = "Haswell";

// Words between this program and itself; not for users, so not in --help.
constexpr char kChildFlag[] = "--blas-self-test";
constexpr char kFellBackVariable[] = "ATTENTION_SERVER_BLAS_FELL_BACK";

// Starts this program anew in the same process; returns only if it cannot.
absl::Status StartAnew(char** argv) {
  // By the name of its file, which ps then shows; that file may be gone.
  std::error_code no_name;
  const std::string name = std::filesystem::read_symlink(kSelf, no_name);
  if (!no_name) execv(name.c_str(), argv);
  execv(kSelf, argv);
  return absl::InternalError(
      absl::StrCat("cannot start ", kSelf, ": ", std::strerror(errno)));
}

// All that can be read from `fd` until its other end is closed.
std::string ReadAll(int fd) {
  std::string text;
  char buffer[512];
  while (true) {
    const ssize_t count = read(fd, buffer, sizeof(buffer));
    if (count > 0) {
      text.append(buffer, static_cast<size_t>(count));
    } else if (count == 0 || errno != EINTR) {
      return text;
    }
  }
}

std::string Describe(int wait_status, absl::string_view said) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("it crashed with ", strsignal(WTERMSIG(wait_status)));
  }
  return said.empty() ? absl::StrCat("it ended with exit code ",
                                     WEXITSTATUS(wait_status))
                      : std::string(said);
}

// Runs the tests in a child process. INTERNAL if the self-test fails, else what
// is wrong with repeating, if anything.
absl::StatusOr<std::string> TestInChild(char* name) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) != 0) {
    return absl::UnavailableError(std::strerror(errno));
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
  std::string flag = kChildFlag;
  char* const words[] = {name, flag.data(), nullptr};
  pid_t child = 0;
  const int error =
      posix_spawn(&child, kSelf, &actions, nullptr, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  std::string said = error == 0 ? ReadAll(pipe_ends[0]) : "";
  close(pipe_ends[0]);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start the self-test: ", std::strerror(error)));
  }
  int wait_status = 0;
  while (waitpid(child, &wait_status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return said;
  return absl::InternalError(Describe(wait_status, said));
}

// Takes the reason of an earlier start out of the environment.
std::string TakeFellBackReason() {
  const char* const reason = std::getenv(kFellBackVariable);
  if (reason == nullptr) return "";
  std::string taken = reason;
  unsetenv(kFellBackVariable);
  return taken;
}

}  // namespace

std::optional<int> RunAsBlasChild(int argc, char** argv) {
  if (argc != 2 || absl::string_view(argv[1]) != kChildFlag) {
    return std::nullopt;
  }
  const absl::Status right = core::BlasSelfTest();
  const absl::Status said = right.ok() ? core::BlasRepeatTest() : right;
  const std::string text(said.message());
  std::fputs(text.c_str(), stdout);
  return right.ok() ? 0 : 1;
}

absl::StatusOr<BlasReport> CheckBlas(char** argv) {
  const char* const threads = std::getenv(kThreadsVariable);
  if (threads == nullptr || absl::string_view(threads) != "1") {
    setenv(kThreadsVariable, "1", /*replace=*/1);
    return StartAnew(argv);
  }
  if (absl::Status flavour = core::CheckBlasFlavour(); !flavour.ok()) {
    return flavour;
  }
  BlasReport report;
  report.fell_back_because = TakeFellBackReason();
  absl::StatusOr<std::string> repeats = TestInChild(argv[0]);
  const absl::Status test = repeats.status();
  if (absl::IsInternal(test) && report.fell_back_because.empty()) {
    setenv(kKernelVariable, kSafeKernel, /*replace=*/1);
    setenv(kFellBackVariable,
           absl::StrCat(core::BlasKernel(), ": ", test.message()).c_str(),
           /*replace=*/1);
    return StartAnew(argv);
  }
  if (!test.ok()) {
    return absl::Status(
        test.code(),
        absl::StrCat("the self-test of OpenBLAS failed with kernel ",
                     core::BlasKernel(), ": ", test.message(),
                     "; install another build of the package "
                     "libopenblas0-pthread"));
  }
  report.config = core::BlasConfig();
  report.kernel = core::BlasKernel();
  report.not_deterministic_because = *std::move(repeats);
  return report;
}

}  // namespace attention::server
