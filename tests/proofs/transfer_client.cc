// Moves a weight set of any size between a server and this process and says how
// much memory that took, for ./run prove client:
//
//   transfer_client upload   TARGET NAME WIDTH [STOP_AT]
//   transfer_client download TARGET NAME WIDTH
//
// The set has four projections of WIDTH x WIDTH numbers that only WIDTH
// decides. Prints one line of JSON: bytes of the set, bytes this process took
// at most beyond what it had before, seconds, SHA-256. With STOP_AT the process
// kills itself when that many bytes have gone out.
#include <sys/types.h>

#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "attention/client.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

using Clock = std::chrono::steady_clock;

// A field of /proc/self/status, such as "VmHWM:", in bytes.
int64_t StatusBytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  std::string name;
  while (status >> name) {
    int64_t kibibytes = 0;
    if (name == field && status >> kibibytes) return kibibytes * 1024;
  }
  std::cerr << "transfer_client: /proc/self/status has no " << field << "\n";
  std::exit(2);
}

// The most memory this process has had since this was made, beyond what it had
// then.
class PeakMemory {
 public:
  PeakMemory() : before_(StatusBytes("VmRSS:")) {
    std::ofstream("/proc/self/clear_refs") << "5";
  }
  int64_t bytes() const { return StatusBytes("VmHWM:") - before_; }

 private:
  const int64_t before_;
};

// Finite floats in [1, 2), by a generator that is as fast as memory.
class Numbers {
 public:
  float Next() {
    state_ = state_ * 1664525U + 1013904223U;
    const uint32_t bits = 0x3F800000U | state_ >> 9U;
    float number = 0;
    std::memcpy(&number, &bits, sizeof(number));
    return number;
  }

 private:
  uint32_t state_ = 1;
};

void Fill(int64_t width, Numbers& numbers, v1::Projection& projection) {
  v1::Tensor& weight = *projection.mutable_weight();
  weight.set_dtype(v1::DATA_TYPE_FLOAT32);
  weight.add_shape(width);
  weight.add_shape(width);
  std::string& data = *weight.mutable_data();
  data.resize(static_cast<size_t>(width * width) * sizeof(float));
  for (size_t at = 0; at < data.size(); at += sizeof(float)) {
    const float number = numbers.Next();
    std::memcpy(&data[at], &number, sizeof(number));
  }
}

v1::SetWeightsRequest SetOf(const std::string& name, int64_t width) {
  v1::SetWeightsRequest request;
  request.set_name(name);
  v1::WeightSet& weights = *request.mutable_weights();
  weights.set_num_heads(1);
  weights.set_layout(v1::LAYOUT_IN_OUT);
  Numbers numbers;
  Fill(width, numbers, *weights.mutable_query());
  Fill(width, numbers, *weights.mutable_key());
  Fill(width, numbers, *weights.mutable_value());
  Fill(width, numbers, *weights.mutable_output());
  return request;
}

// Whether every number of `weights` is the one that SetOf makes.
bool IsWhole(const v1::WeightSet& weights, int64_t width) {
  Numbers numbers;
  for (const v1::Projection* projection :
       {&weights.query(), &weights.key(), &weights.value(),
        &weights.output()}) {
    const std::string& data = projection->weight().data();
    if (data.size() != static_cast<size_t>(width * width) * sizeof(float)) {
      return false;
    }
    for (size_t at = 0; at < data.size(); at += sizeof(float)) {
      float number = 0;
      std::memcpy(&number, &data[at], sizeof(number));
      if (number != numbers.Next()) return false;
    }
  }
  return true;
}

struct Command {
  bool upload = false;
  std::string target;
  std::string name;
  int64_t width = 0;
  int64_t stop_at = 0;  // 0: never
};

absl::StatusOr<std::string> Transfer(const Command& command,
                                     const Client& client) {
  if (!command.upload) {
    v1::GetWeightsRequest request;
    request.mutable_weight_set()->set_name(command.name);
    const auto stored = client.GetWeights(request);
    if (!stored.ok()) return stored.status();
    if (!IsWhole(stored->weights, command.width)) {
      return absl::DataLossError("other numbers came than went in");
    }
    return stored->summary.version().sha256();
  }
  const auto uploaded = client.UploadWeights(
      SetOf(command.name, command.width), {},
      [&command](int64_t bytes, int64_t) {
        if (command.stop_at > 0 && bytes >= command.stop_at) {
          std::raise(SIGKILL);
        }
      });
  if (!uploaded.ok()) return uploaded.status();
  return uploaded->version().sha256();
}

absl::Status Run(const Command& command) {
  const Client client(command.target);
  // What a process takes once, however much it transfers.
  if (const auto info = client.GetServerInfo(); !info.ok()) {
    return info.status();
  }
  const PeakMemory peak;
  const auto start = Clock::now();
  const auto sha256 = Transfer(command, client);
  if (!sha256.ok()) return sha256.status();
  nlohmann::json result;
  result["seconds"] =
      std::chrono::duration<double>(Clock::now() - start).count();
  result["peak_bytes"] = peak.bytes();
  result["sha256"] = *sha256;
  result["set_bytes"] =
      4 * command.width * command.width * static_cast<int64_t>(sizeof(float));
  std::cout << result.dump() << "\n";
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  Command command;
  const std::string verb = argc > 1 ? argv[1] : "";
  command.upload = verb == "upload";
  const bool understood =
      (argc == 5 || (argc == 6 && command.upload)) &&
      (command.upload || verb == "download") &&
      absl::SimpleAtoi(argv[4], &command.width) && command.width > 0 &&
      (argc == 5 || absl::SimpleAtoi(argv[5], &command.stop_at));
  if (!understood) {
    std::cerr << "usage: transfer_client upload|download TARGET NAME WIDTH "
                 "[STOP_AT]\n";
    return 2;
  }
  command.target = argv[2];
  command.name = argv[3];
  const absl::Status status = Run(command);
  if (!status.ok()) std::cerr << "transfer_client: " << status << "\n";
  return status.ok() ? 0 : 1;
}

}  // namespace
}  // namespace attention::client

int main(int argc, char** argv) { return attention::client::Main(argc, argv); }
