#include "server/blas_check.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "server/core/blas/blas.h"
#include "server/core/blas/kernels.h"
#include "server/core/blas/self_test.h"
#include "server/core/blas/start.h"

namespace attention::server {
namespace {

// Words between this program and itself; not for users, so not in --help.
constexpr char kChildFlag[] = "--blas-self-test";
constexpr char kReportVariable[] = "ATTENTION_SERVER_BLAS_REPORT";
constexpr char kBetween[] = "\n";  // the parts of a report, and of an answer

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

// What a child process said that has passed the self-test.
struct Answer {
  std::string kernel;  // it ran
  std::string said;    // what is wrong with repeating, if anything
};

// Runs the tests in a child process. INTERNAL if the self-test fails.
absl::StatusOr<Answer> TestInChild(char* name) {
  // Whoever started this may have ignored it, and nobody could be waited for.
  std::signal(SIGCHLD, SIG_DFL);
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
      posix_spawn(&child, "/proc/self/exe", &actions, nullptr, words, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  const std::string text = error == 0 ? ReadAll(pipe_ends[0]) : "";
  close(pipe_ends[0]);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot start the self-test: ", std::strerror(error)));
  }
  int wait_status = 0;
  pid_t ended = -1;
  do {
    ended = waitpid(child, &wait_status, 0);
  } while (ended < 0 && errno == EINTR);
  if (ended < 0) {
    return absl::UnavailableError(absl::StrCat(
        "cannot tell how the self-test ended: ", std::strerror(errno)));
  }
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(text, absl::MaxSplits(kBetween, 1));
  if (WIFSIGNALED(wait_status)) {
    return absl::InternalError(
        absl::StrCat("it crashed with ", strsignal(WTERMSIG(wait_status))));
  }
  if (WEXITSTATUS(wait_status) == 0) return Answer{parts.first, parts.second};
  return absl::InternalError(
      !parts.second.empty()
          ? parts.second
          : absl::StrCat("it ended with exit code ", WEXITSTATUS(wait_status)));
}

// Leaves a report for the start that is to come, which loads the kernel it
// names.
void LeaveReport(const core::BlasReport& report) {
  const std::string text =
      absl::StrJoin({report.library_kernel, report.kernel_because,
                     std::string(report.fell_back ? "fell back" : ""),
                     report.not_deterministic_because},
                    kBetween);
  setenv(kReportVariable, text.c_str(), /*replace=*/1);
}

std::optional<core::BlasReport> TakeReport() {
  const char* const text = std::getenv(kReportVariable);
  if (text == nullptr) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(text, kBetween);
  unsetenv(kReportVariable);
  if (parts.size() != 4) return std::nullopt;
  core::BlasReport report;
  report.library_kernel = parts[0];
  report.kernel_because = parts[1];
  report.fell_back = !parts[2].empty();
  report.not_deterministic_because = parts[3];
  return report;
}

// What a process that is started from here on computes with.
void SetKernel(const std::string& kernel) {
  if (kernel.empty()) {
    unsetenv(core::kBlasKernelVariable);
  } else {
    setenv(core::kBlasKernelVariable, kernel.c_str(), /*replace=*/1);
  }
}

// Why a kernel comes first, of those to try.
std::string BecauseOf(const std::string& first, const std::string& taken,
                      const std::string& asked, const core::VectorSets& sets) {
  if (first != taken) {
    return absl::StrCat("the processor has ", sets.Best(), ", of which ", taken,
                        ", the library's choice, makes no use");
  }
  return asked.empty() ? "the library took it"
                       : absl::StrCat(core::kBlasKernelVariable, " is ", asked);
}

// Runs the self-test on one kernel after the other until one passes, which it
// leaves in the environment.
absl::StatusOr<core::BlasReport> ChooseKernel(char* name) {
  const std::string taken = core::BlasKernel();
  std::string asked = core::AskedForBlasKernel();
  core::BlasReport report;
  std::vector<std::string> because;
  if (!asked.empty() && !core::IsAskedFor(taken)) {
    because.push_back(absl::StrCat(core::kBlasKernelVariable, " is ", asked,
                                   ", which the library does not have"));
    asked.clear();
  }
  const auto sets = core::VectorSets::OfThisMachine();
  const std::vector<std::string> kernels =
      core::BlasKernelsToTry(taken, !asked.empty(), sets);
  because.push_back(BecauseOf(kernels.front(), taken, asked, sets));
  for (const std::string& kernel : kernels) {
    SetKernel(kernel == taken ? asked : kernel);
    const absl::StatusOr<Answer> answer = TestInChild(name);
    if (absl::IsInternal(answer.status())) {
      report.fell_back = true;
      because.push_back(absl::StrCat(
          kernel, " failed its self-test: ", answer.status().message()));
    } else if (!answer.ok()) {
      return answer.status();
    } else if (answer->kernel != kernel) {
      because.push_back(absl::StrCat("the library has no ", kernel));
    } else {
      report.kernel = kernel;
      report.library_kernel = taken;
      report.kernel_because = absl::StrJoin(because, "; ");
      report.not_deterministic_because = answer->said;
      return report;
    }
  }
  return absl::InternalError(absl::StrCat(
      "no kernel of OpenBLAS computes right: ", absl::StrJoin(because, "; "),
      "; install another build of the package "
      "libopenblas0-pthread"));
}

}  // namespace

std::optional<int> RunAsBlasChild(int argc, char** argv) {
  if (argc != 2 || absl::string_view(argv[1]) != kChildFlag) {
    return std::nullopt;
  }
  const absl::Status right = core::BlasSelfTest();
  const absl::Status said = right.ok() ? core::BlasRepeatTest() : right;
  const std::string text =
      absl::StrCat(core::BlasKernel(), kBetween, said.message());
  std::fputs(text.c_str(), stdout);
  return right.ok() ? 0 : 1;
}

absl::StatusOr<core::BlasReport> CheckBlas(
    char** argv, absl::FunctionRef<void()> before_exec) {
  absl::Status fit = core::LoadBlasForOneThread(argv, before_exec);
  if (fit.ok()) fit = core::CheckBlasFlavour();
  if (!fit.ok()) return fit;
  std::optional<core::BlasReport> report = TakeReport();
  if (!report) {
    absl::StatusOr<core::BlasReport> chosen = ChooseKernel(argv[0]);
    if (!chosen.ok()) return chosen.status();
    if (chosen->kernel != chosen->library_kernel) {
      LeaveReport(*chosen);
      before_exec();
      return core::StartAnew(argv);
    }
    report = *std::move(chosen);
  }
  report->config = core::BlasConfig();
  report->kernel = core::BlasKernel();
  return *std::move(report);
}

}  // namespace attention::server
