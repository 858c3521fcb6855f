// Sends messages that nobody meant to every method of a server, for ./run prove
// door:
//
//   message_fuzz TARGET CASES [SEED]
//
// Of each method: every message that the generator of broken ones makes
// (tests/support/broken_messages.h), and CASES random ones: right messages,
// random ones by the message's own descriptor, broken ones and bytes, spliced,
// cut, and with bits and runs of bytes changed. Each is answered, or refused as
// all refusals have to be. Prints the first findings, and last a line of JSON:
// how many of either kind were sent, the answers by code, findings and seconds.
// Ends with 0 whatever they are.
#include <google/protobuf/descriptor.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "attention/v1/attention.pb.h"
#include "nlohmann/json.hpp"
#include "proto/wire.h"
#include "tests/support/any_call.h"
#include "tests/support/broken_messages.h"

namespace attention {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

constexpr int kClients = 8;  // each with a connection of its own
constexpr size_t kLongest = 4096;
constexpr size_t kShown = 20;      // findings
constexpr size_t kReplies = 1000;  // more than any answer to these has

v1::Tensor Whole(int64_t rows, int64_t columns) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor.add_shape(rows);
  tensor.add_shape(columns);
  tensor.set_data(std::string(static_cast<size_t>(4 * rows * columns), '\0'));
  return tensor;
}

v1::WeightSet WholeSet() {
  v1::WeightSet weights;
  weights.set_num_heads(1);
  weights.set_layout(v1::LAYOUT_IN_OUT);
  *weights.mutable_query()->mutable_weight() = Whole(2, 2);
  *weights.mutable_key()->mutable_weight() = Whole(2, 2);
  *weights.mutable_value()->mutable_weight() = Whole(2, 2);
  return weights;
}

// Messages that are right, of the types of which no random one would be.
std::vector<std::string> RightMessages(const Descriptor& type) {
  v1::ComputeAttentionRequest compute;
  *compute.mutable_query() = Whole(3, 2);
  v1::ComputeAttentionRequest inline_weights = compute;
  *inline_weights.mutable_weights() = WholeSet();
  v1::ComputeAttentionRequest stored = compute;
  stored.mutable_weight_set()->set_name("fuzz");
  std::vector<std::string> messages;
  for (const auto& request : {compute, inline_weights, stored}) {
    if (&type == v1::ComputeAttentionRequest::descriptor()) {
      messages.push_back(request.SerializeAsString());
    } else if (&type == v1::StreamAttentionRequest::descriptor()) {
      v1::StreamAttentionRequest message;
      *message.mutable_request() = request;
      messages.push_back(message.SerializeAsString());
    }
  }
  if (&type == v1::SetWeightsRequest::descriptor()) {
    v1::SetWeightsRequest request;
    request.set_name("fuzz");
    *request.mutable_weights() = WholeSet();
    messages.push_back(request.SerializeAsString());
  } else if (&type == v1::UploadWeightsRequest::descriptor()) {
    v1::UploadWeightsRequest request;
    request.mutable_header()->set_name("fuzz");
    *request.mutable_header()->mutable_weights() = WholeSet();
    for (auto* const side :
         {request.mutable_header()->mutable_weights()->mutable_query(),
          request.mutable_header()->mutable_weights()->mutable_key(),
          request.mutable_header()->mutable_weights()->mutable_value()}) {
      side->mutable_weight()->clear_data();
    }
    messages.push_back(request.SerializeAsString());
  }
  return messages;
}

// Random messages of one type.
class Messages {
 public:
  Messages(const Descriptor& type, uint64_t seed)
      : type_(type),
        right_(RightMessages(type)),
        broken_(BrokenMessages(type)),
        dice_(seed) {}

  const std::vector<std::string>& broken() const { return broken_; }

  std::string Next() {
    std::string bytes = Seed();
    for (uint64_t i = Below(4); i > 0; --i) Change(bytes);
    bytes.resize(std::min(bytes.size(), kLongest));
    return bytes;
  }

 private:
  uint64_t Below(uint64_t end) { return dice_() % end; }
  template <typename T>
  T OneOf(const std::vector<T>& values) {
    return values[Below(values.size())];
  }

  std::string Bytes(uint64_t most) {
    std::string bytes(Below(most), '\0');
    for (char& byte : bytes) byte = static_cast<char>(Below(256));
    return bytes;
  }

  std::string Seed() {
    switch (Below(5)) {
      case 0:
        return OneOf(broken_);
      case 1:
        return Bytes(64);
      case 2:
        return right_.empty() ? Random(type_) : OneOf(right_);
      default:
        return Random(type_);
    }
  }

  // With about half of the fields, and values of which many are right.
  std::string Random(const Descriptor& type) {
    if (&type == v1::Tensor::descriptor() && Below(8) != 0) {
      return Whole(static_cast<int64_t>(1 + Below(3)),
                   static_cast<int64_t>(1 + Below(3)))
          .SerializeAsString();
    }
    std::string bytes;
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      const uint64_t most = field.is_repeated() ? 4 : 2;
      for (uint64_t times = Below(most); times > 0; --times) {
        bytes += TagOf(field.number(), WireTypeOf(field)) + Value(field);
      }
    }
    return bytes;
  }

  std::string Value(const FieldDescriptor& field) {
    switch (field.type()) {
      case FieldDescriptor::TYPE_MESSAGE:
        return Sized(Random(*field.message_type()));
      case FieldDescriptor::TYPE_STRING:
        return Sized(OneOf<std::string>(
            {"", "fuzz", "fuzz", "latest", "query.weight",
             "attention.v1.AttentionService", std::string(200, 'x')}));
      case FieldDescriptor::TYPE_BYTES:
        return Sized(Bytes(40));
      case FieldDescriptor::TYPE_DOUBLE: {
        const auto value = OneOf<double>(
            {0, 0.5, 1, -1, 1e300, std::numeric_limits<double>::quiet_NaN()});
        std::string bytes(sizeof(value), '\0');
        std::memcpy(bytes.data(), &value, sizeof(value));
        return bytes;
      }
      default: {
        std::string bytes;
        wire::AppendVarint(OneOf<uint64_t>({0, 1, 1, 2, 2, 3, 4, 1 << 20,
                                            UINT32_MAX, UINT64_MAX}),
                           bytes);
        return bytes;
      }
    }
  }

  void Change(std::string& bytes) {
    const size_t at = Below(bytes.size() + 1);
    const size_t count = std::min<size_t>(1 + Below(8), bytes.size() - at);
    switch (Below(6)) {
      case 0:
        if (count > 0) bytes[at] = static_cast<char>(bytes[at] ^ 1 << Below(8));
        return;
      case 1:
        bytes.erase(at, count);
        return;
      case 2:
        bytes.insert(at, Bytes(8));
        return;
      case 3:
        bytes.insert(at, bytes.substr(at, count));
        return;
      case 4:
        bytes.resize(at);
        return;
      default:
        bytes = bytes.substr(0, at) + Seed();
    }
  }

  const Descriptor& type_;
  const std::vector<std::string> right_;
  const std::vector<std::string> broken_;
  std::mt19937_64 dice_;
};

class Findings {
 public:
  void Sent(bool broken) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++(broken ? broken_ : random_);
  }

  // `fault` is empty where there is none.
  void Answered(const Method& method, const std::string& message,
                const google::rpc::Status& status, const std::string& fault) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++codes_[status.code()];
    if (fault.empty()) return;
    if (++findings_ > kShown) return;
    std::cout << fault << ": " << method.path << " answers "
              << absl::BytesToHexString(message) << " with " << status.code()
              << " " << status.message() << "\n"
              << std::flush;
  }

  nlohmann::json Said() {
    const std::lock_guard<std::mutex> lock(mutex_);
    nlohmann::json said = {
        {"broken", broken_}, {"random", random_}, {"findings", findings_}};
    for (const auto& [code, count] : codes_) {
      said["codes"][absl::StrCat(code)] = count;
    }
    return said;
  }

 private:
  std::mutex mutex_;
  int64_t broken_ = 0;
  int64_t random_ = 0;
  size_t findings_ = 0;
  std::map<int, int64_t> codes_;
};

class Client {
 public:
  Client(const std::string& target, Findings& findings) : findings_(findings) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    channel_ = grpc::CreateCustomChannel(
        target, grpc::InsecureChannelCredentials(), arguments);
  }

  void Send(const Method& method, const std::string& message, bool broken) {
    findings_.Sent(broken);
    // Some streams go on after their first answer.
    const bool goes_on = absl::EndsWith(method.path, "/Watch");
    const AnyAnswer answer =
        CallAny(channel_, method.path, {message}, goes_on ? 1 : kReplies);
    const google::rpc::Status status = StatusOf(method, answer);
    const bool answered =
        !answer.replies.empty() && (goes_on || !status.code());
    std::string fault = answered || !status.code() ? "" : Fault(status);
    if (broken && (status.code() != grpc::StatusCode::INVALID_ARGUMENT ||
                   ReasonOf(status) != "MALFORMED_MESSAGE")) {
      fault = "taken for a message";
    }
    findings_.Answered(method, message, status, fault);
  }

 private:
  Findings& findings_;
  std::shared_ptr<grpc::Channel> channel_;
};

// What one of the clients sends.
void Fuzz(const std::string& target, int64_t cases, uint64_t seed, int number,
          Findings& findings) {
  Client client(target, findings);
  for (const Method& method : AllMethods()) {
    Messages messages(*method.request, seed + static_cast<uint64_t>(number));
    const auto& broken = messages.broken();
    for (auto i = static_cast<size_t>(number); i < broken.size();
         i += kClients) {
      client.Send(method, broken[i], true);
    }
    for (int64_t i = number; i < cases; i += kClients) {
      client.Send(method, messages.Next(), false);
    }
  }
}

int Main(int argc, char** argv) {
  int64_t cases = 0;
  uint64_t seed = 1;
  if (argc < 3 || argc > 4 || !absl::SimpleAtoi(argv[2], &cases) ||
      (argc == 4 && !absl::SimpleAtoi(argv[3], &seed))) {
    std::cerr << "usage: message_fuzz TARGET CASES [SEED]\n";
    return 2;
  }
  Findings findings;
  const auto begun = std::chrono::steady_clock::now();
  std::vector<std::thread> clients;
  clients.reserve(kClients);
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([&, i] { Fuzz(argv[1], cases, seed, i, findings); });
  }
  for (std::thread& client : clients) client.join();
  nlohmann::json said = findings.Said();
  said["methods"] = AllMethods().size();
  said["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun)
          .count();
  std::cout << said.dump() << "\n";
  return 0;
}

}  // namespace
}  // namespace attention

int main(int argc, char** argv) { return attention::Main(argc, argv); }
