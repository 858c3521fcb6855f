#include "server/core/blas/start.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "server/core/blas/blas.h"
#include "server/core/blas/kernels.h"

namespace attention::core {
namespace {

void ExitUnlessOk(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  std::exit(1);
}

}  // namespace

std::string AskedForBlasKernel() {
  const char* const kernel = std::getenv(kBlasKernelVariable);
  return kernel == nullptr ? "" : kernel;
}

bool IsAskedFor(const std::string& taken) {
  return absl::EqualsIgnoreCase(taken, AskedForBlasKernel());
}

absl::Status StartAnew(char** argv) {
  constexpr char kSelf[] = "/proc/self/exe";
  // By the name of its file, which ps then shows; that file may be gone.
  std::error_code no_name;
  const std::string name = std::filesystem::read_symlink(kSelf, no_name);
  if (!no_name) execv(name.c_str(), argv);
  execv(kSelf, argv);
  return absl::InternalError(
      absl::StrCat("cannot start ", kSelf, ": ", std::strerror(errno)));
}

absl::Status LoadBlasForOneThread(char** argv,
                                  absl::FunctionRef<void()> before) {
  const char* const kernel = std::getenv(kBlasKernelVariable);
  const char* const threads = std::getenv(kBlasThreadsVariable);
  const bool kernel_fits = kernel == nullptr || *kernel != '\0';
  const bool threads_fit =
      threads != nullptr && absl::string_view(threads) == "1";
  if (kernel_fits && threads_fit) return absl::OkStatus();
  if (!kernel_fits) unsetenv(kBlasKernelVariable);
  setenv(kBlasThreadsVariable, "1", /*replace=*/1);
  before();
  return StartAnew(argv);
}

void LoadBlasLikeTheServer(char** argv) {
  ExitUnlessOk(LoadBlasForOneThread(argv));
  const std::string taken = BlasKernel();
  const std::string kernel =
      BlasKernelsToTry(taken, IsAskedFor(taken), VectorSets::OfThisMachine())
          .front();
  if (kernel == taken) return;
  if (kernel == AskedForBlasKernel()) {
    ExitUnlessOk(absl::NotFoundError(
        absl::StrCat("the OpenBLAS that was loaded has no kernel ", kernel)));
  }
  std::fprintf(stderr, "OpenBLAS took its kernel %s; this runs on %s\n",
               taken.c_str(), kernel.c_str());
  setenv(kBlasKernelVariable, kernel.c_str(), /*replace=*/1);
  ExitUnlessOk(StartAnew(argv));
}

}  // namespace attention::core
