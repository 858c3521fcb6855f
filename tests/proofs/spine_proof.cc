// Proves what the README says about exactness and determinism, one line per
// claim: id | claim | value | bound | ok. The same goes to --json FILE as
// [{id, claim, value, bound, ok}]. --quick takes a tenth of the cases. Ends
// with 1 if a claim falls short, with 2 if it was called wrongly.
#include <cctype>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "server/core/blas/blas.h"
#include "server/core/blas/start.h"
#include "tests/layer_cases/determinism_check.h"
#include "tests/layer_cases/property_suite.h"

namespace attention::core {
namespace {

struct Claim {
  std::string id;
  std::string claim;
  double value = 0;
  double bound = 0;
  bool ok = false;
};

class Proof {
 public:
  explicit Proof(bool quick) : divisor_(quick ? 10 : 1) {}

  void Run() {
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kFloat64, Dtype::kFloat16,
                              Dtype::kBfloat16}) {
      ProveErrors(dtype);
    }
    ProveDeterminism();
    ProveTheCheckSees("thread_dependent_tile", "the number of threads",
                      ThreadDependentTile());
    ProveTheCheckSees("batch_dependent_tile", "the size of the batch",
                      BatchDependentTile());
    ProveTheCheckSees("load_dependent_tile", "what else is computed",
                      LoadDependentTile());
  }

  const std::vector<Claim>& claims() const { return claims_; }

 private:
  // Prints the claim as soon as it is known.
  void Add(Claim claim) {
    std::printf("%s | %s | %.6g | %.6g | %s\n", claim.id.c_str(),
                claim.claim.c_str(), claim.value, claim.bound,
                claim.ok ? "ok" : "FAILED");
    std::fflush(stdout);
    claims_.push_back(std::move(claim));
  }

  void ProveErrors(Dtype dtype) {
    const int64_t cases = PropertyCases(dtype) / divisor_;
    const SuiteReport report =
        RunPropertySuite(dtype, kFirstPropertySeed, cases);
    const reference::Comparison total = report.Total();
    for (const std::string& failure : report.failures) {
      std::cerr << failure << "\n";
    }
    std::string name = DtypeName(dtype);
    for (char& letter : name) letter = static_cast<char>(std::tolower(letter));
    const std::string over = " over " + std::to_string(cases) +
                             " random computations, " +
                             std::to_string(total.elements) + " elements";
    Add({"spine.error_ratio." + name,
         std::string(DtypeName(dtype)) +
             ": worst error as a part of its derived bound" + over,
         total.worst_ratio, 1, total.ok && total.worst_ratio <= 1});
    Add({"spine.error." + name,
         std::string(DtypeName(dtype)) +
             ": worst error of an output, and its bound" + over,
         report.worst.at("output").worst_error,
         report.worst.at("output").bound_at_worst_error,
         total.ok && report.worst.at("output").worst_error <=
                         report.worst.at("output").bound_at_worst_error});
  }

  void ProveDeterminism() {
    const int64_t requests = 500 / divisor_;
    const DeterminismReport report = CheckDeterminism(
        [](const LayerCase& layer_case, ComputePool* pool) {
          return RunCore(layer_case, pool);
        },
        requests, kDeterminismSeed);
    if (!report.first_difference.empty()) {
      std::cerr << report.first_difference << "\n";
    }
    Add({"spine.determinism",
         "elements whose bits differ when a request is computed alone, at "
         "every "
         "position of a batch, with 1, 2 and 4 threads, idle and under load: " +
             std::to_string(report.requests) + " batches of requests, " +
             std::to_string(report.answers) + " answers, " +
             std::to_string(report.elements) + " elements, " + BlasKernel() +
             " kernel",
         static_cast<double>(report.differing_elements), 0,
         report.differing_elements == 0});
  }

  // A check that cannot fail proves nothing.
  void ProveTheCheckSees(const std::string& id, const std::string& cause,
                         const Compute& planted) {
    const DeterminismReport report =
        CheckDeterminism(planted, 20, kDeterminismSeed);
    Add({"spine.determinism." + id,
         "elements that differ when a planted tile depends on " + cause +
             "; at least 1 must",
         static_cast<double>(report.differing_elements), 1,
         report.differing_elements >= 1});
  }

  static constexpr uint64_t kDeterminismSeed = 30000;
  const int64_t divisor_;
  std::vector<Claim> claims_;
};

int Main(const std::vector<std::string>& arguments) {
  bool quick = false;
  std::string json_path;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--quick") {
      quick = true;
    } else if (arguments[i] == "--json" && i + 1 < arguments.size()) {
      json_path = arguments[++i];
    } else {
      std::cerr << "usage: spine_proof [--quick] [--json FILE]\n";
      return 2;
    }
  }
  Proof proof(quick);
  proof.Run();
  bool ok = true;
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Claim& claim : proof.claims()) {
    ok = ok && claim.ok;
    json.push_back({{"id", claim.id},
                    {"claim", claim.claim},
                    {"value", claim.value},
                    {"bound", claim.bound},
                    {"ok", claim.ok}});
  }
  if (!json_path.empty()) {
    std::ofstream file(json_path);
    file << json.dump(2) << "\n";
    if (!file.flush()) {
      std::cerr << "cannot write " << json_path << "\n";
      return 2;
    }
  }
  return ok ? 0 : 1;
}

}  // namespace
}  // namespace attention::core

int main(int count, char** arguments) {
  attention::core::LoadBlasLikeTheServer(arguments);
  return attention::core::Main({arguments + 1, arguments + count});
}
