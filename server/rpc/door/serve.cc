#include "server/rpc/door/serve.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

class UnaryReactor final : public grpc::ServerUnaryReactor {
 public:
  void Hold(Held held) { held_ = std::move(held); }

  void OnCancel() override {
    // Null after a refusal that had no memory for even that.
    if (held_.cancellation != nullptr) held_.cancellation->Cancel();
  }
  void OnDone() override { delete this; }

  // Both reactions are too short to be worth another thread, which is what gRPC
  // would run each of them on, for every call (docs/adr/0005-raw-transport.md).
  bool InternalInlineable() override { return true; }

 private:
  Held held_;
};

bool IsRequestId(absl::string_view text) {
  if (text.empty() || text.size() > 64) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' ||
           c == '_' || c == '-';
  });
}

// The client's, if it sent one.
std::optional<std::string> SentId(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  const auto sent = metadata.find(kRequestIdKey);
  if (sent == metadata.end()) return std::nullopt;
  const absl::string_view id(sent->second.data(), sent->second.size());
  if (!IsRequestId(id)) return std::nullopt;
  return std::string(id);
}

// Unique in this process and, by its random half, very likely among processes.
std::string MadeId(uint64_t number) {
  static const uint32_t process = std::random_device()();
  return absl::StrCat(absl::Hex(process, absl::kZeroPad8), "-", number);
}

Call::Facts FactsOf(grpc::CallbackServerContext& context, const char* method,
                    int64_t request_bytes) {
  Call::Facts facts;
  facts.method = method;
  facts.peer = [&context] { return context.peer(); };
  facts.request_bytes = request_bytes;
  if (const std::optional<std::string> sent = SentId(context)) {
    context.AddTrailingMetadata(kRequestIdKey, *sent);
    facts.id = [id = *sent] { return id; };
  } else {
    static std::atomic<uint64_t> count{0};
    facts.id = [number = count.fetch_add(1, std::memory_order_relaxed)] {
      return MadeId(number);
    };
    facts.tell_id = [&context](const std::string& id) {
      context.AddTrailingMetadata(kRequestIdKey, id);
    };
  }
  return facts;
}

}  // namespace

Held Admit(grpc::CallbackServerContext& context, Admission& admission,
           const char* method, int64_t request_bytes,
           const google::protobuf::Message* reply,
           std::function<void(grpc::Status)> answer, Handler handler) {
  Held held{std::make_shared<core::Cancellation>(context.deadline()),
            std::make_shared<Admission::Ticket>(admission)};
  const auto call =
      std::make_shared<Call>(FactsOf(context, method, request_bytes),
                             held.cancellation, reply, std::move(answer));
  call->Guard([&] {
    absl::Status entered = admission.Enter(request_bytes, *held.ticket);
    if (!entered.ok()) return call->Finish(entered);
    call->set_ticket(held.ticket);
    handler(call);
  });
  return held;
}

grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext& context,
                                     Admission& admission, const char* method,
                                     int64_t request_bytes,
                                     const google::protobuf::Message* reply,
                                     Handler handler) {
  // gRPC calls no reaction before this function has returned.
  auto* const reactor = new UnaryReactor;
  const auto answer = [reactor](grpc::Status status) {
    reactor->Finish(std::move(status));
  };
  try {
    reactor->Hold(Admit(context, admission, method, request_bytes, reply,
                        answer, handler));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return reactor;
}

}  // namespace attention::rpc
