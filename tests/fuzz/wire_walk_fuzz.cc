#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "attention/v1/attention.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "proto/wire_contract.h"
#include "tests/fuzz/check.h"
#include "tests/fuzz/target.h"

namespace attention::files {
namespace {

void Require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

// What the walk owes for one type of message, whatever the bytes are.
template <typename Message>
void CheckWalk(absl::string_view bytes) {
  static const WireContract contract(*Message::descriptor());
  const auto third = bytes.size() / 3;
  const std::vector<absl::string_view> slices = {
      bytes.substr(0, third), bytes.substr(third, 1),
      bytes.substr(std::min(third + 1, bytes.size()))};
  const WireWalk walk = contract.Walk(slices, /*max_axis=*/1 << 20);
  const WireWalk whole = contract.Walk({&bytes, 1}, /*max_axis=*/1 << 20);
  Require(walk.status == whole.status, "slices do not matter");
  Require(walk.unknown_bytes == whole.unknown_bytes, "slices do not matter");
  if (!walk.status.ok()) {
    ++Counts().rejected;
    Require(!walk.status.message().empty(), "a refusal has words");
    return;
  }
  ++Counts().accepted;
  Message parsed;
  std::string copy;
  contract.CopyKnown(slices, copy);
  Require(copy.size() <= bytes.size(), "a copy is no longer than the original");
  Message copied;
  // Of packed numbers the walk sees the ends only.
  if (!parsed.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    Require(!copied.ParseFromString(copy), "a copy reads like the original");
    return;
  }
  Require(copied.ParseFromString(copy), "a copy reads like the original");
  Require(copied.GetReflection()->GetUnknownFields(copied).empty(),
          "a copy has nothing unknown");
  parsed.DiscardUnknownFields();
  Require(copied.ByteSizeLong() == parsed.ByteSizeLong(),
          "a copy has all that is known");
}

}  // namespace

int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  static const google::protobuf::LogSilencer silence;
  const absl::string_view input(reinterpret_cast<const char*>(bytes), size);
  CheckWalk<v1::ComputeAttentionRequest>(input);
  CheckWalk<v1::StreamAttentionRequest>(input);
  CheckWalk<v1::SetWeightsRequest>(input);
  CheckWalk<v1::UploadWeightsRequest>(input);
  CheckWalk<v1::ListWeightsRequest>(input);
  CheckWalk<v1::GetServerInfoRequest>(input);
  CheckWalk<grpc::health::v1::HealthCheckRequest>(input);
  return 0;
}

}  // namespace attention::files
