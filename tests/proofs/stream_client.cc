// Sends tiny requests on one stream and counts their answers, for ./run prove
// door:
//
//   stream_client TARGET COUNT [CA]
//
// with TLS if there is an authority's file. Prints one line of JSON: how many
// answers are right, the first error if one is not, how the stream ended, and
// seconds. Ends with 0 whatever they are.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "attention/client.h"
#include "attention/tls.h"
#include "nlohmann/json.hpp"

namespace attention::client {
namespace {

using Clock = std::chrono::steady_clock;

// Enough to keep both ends at work.
constexpr int kInFlight = 256;

// One row: its attention is its value, whatever the query is.
v1::ComputeAttentionRequest RequestOf(float value) {
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = MakeTensor(std::vector<float>{value}, {1, 1});
  return request;
}

float ValueOf(uint64_t id) { return static_cast<float>(id % 1000); }

nlohmann::json Stream(const Client& client, int64_t count) {
  std::atomic<int64_t> right{0};
  std::string error;  // of the thread that gets the answers
  const auto start = Clock::now();
  const auto stream = client.OpenStream(
      [&](const AttentionStream::Answer& answer) {
        absl::Status status = answer.response.status();
        if (status.ok()) {
          const auto output = ReadFloats(answer.response->output());
          if (output.ok() && output->size() == 1 &&
              output->front() == ValueOf(answer.id)) {
            ++right;
            return;
          }
          status = absl::DataLossError("an answer has another value");
        }
        if (error.empty()) error = std::string(status.message());
      },
      StreamOptions{kInFlight});
  absl::Status sent;
  for (int64_t i = 0; i < count && sent.ok(); ++i) {
    const auto id = static_cast<uint64_t>(i);
    sent = stream->Send(id, RequestOf(ValueOf(id)));
  }
  const absl::Status ended = stream->Finish();
  nlohmann::json result;
  result["seconds"] =
      std::chrono::duration<double>(Clock::now() - start).count();
  result["right"] = right.load();
  result["error"] = error;
  result["ended"] = ended.ok() ? "OK" : ended.ToString();
  return result;
}

int Main(int argc, char** argv) {
  int64_t count = 0;
  if (argc < 3 || argc > 4 || !absl::SimpleAtoi(argv[2], &count) || count < 1) {
    std::cerr << "usage: stream_client TARGET COUNT [CA]\n";
    return 2;
  }
  ClientOptions options;
  if (argc == 4) {
    TlsOptions tls;
    tls.ca_file = argv[3];
    auto credentials = TlsCredentials(tls);
    if (!credentials.ok()) {
      std::cerr << "stream_client: " << credentials.status() << "\n";
      return 2;
    }
    options.credentials = *credentials;
  }
  std::cout << Stream(Client(argv[1], options), count).dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace attention::client

int main(int argc, char** argv) { return attention::client::Main(argc, argv); }
