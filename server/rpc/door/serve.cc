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

int64_t MetadataBytes(const grpc::CallbackServerContext& context) {
  size_t bytes = 0;
  for (const auto& [key, value] : context.client_metadata()) {
    bytes += key.size() + value.size();
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace

absl::Status CheckWhole(const grpc::ByteBuffer* request) {
  if (request == nullptr || request->Valid()) return absl::OkStatus();
  return WithReason(absl::InvalidArgumentError(
                        "the call ended without a whole message; expected one"),
                    v1::ERROR_REASON_MALFORMED_MESSAGE);
}

std::shared_ptr<Arrival> ArrivalOf(const grpc::CallbackServerContext& context,
                                   const Arrivals& arrivals,
                                   const grpc::ByteBuffer* request) {
  std::shared_ptr<Arrival> arrival = arrivals.Find(context.peer());
  if (arrival == nullptr) return arrival;
  arrival->OnCall(MetadataBytes(context));
  if (request == nullptr) return arrival;
  if (request->Valid()) {
    arrival->OnMessage(static_cast<int64_t>(request->Length()));
  } else {
    arrival->OnBroken();
  }
  return arrival;
}

absl::Status CheckShort(const char* method, int64_t bytes) {
  constexpr auto kMost = static_cast<int64_t>(kInlineBytes);
  if (bytes <= kMost) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat("the message has ", bytes,
                                                " bytes; ", method,
                                                " takes at most ", kMost)),
      v1::ERROR_REASON_LIMIT_EXCEEDED,
      {{"limit", absl::StrCat(kMost)}, {"needed", absl::StrCat(bytes)}});
}

Held Admit(grpc::CallbackServerContext& context, const Door& door,
           const char* method, const grpc::ByteBuffer* request,
           std::function<void(grpc::Status)> answer, Handler handler) {
  Held held{std::make_shared<core::Cancellation>(context.deadline()), nullptr,
            ArrivalOf(context, door.arrivals, request)};
  const int64_t bytes =
      request == nullptr ? 0 : static_cast<int64_t>(request->Length());
  const auto call = std::make_shared<Call>(
      FactsOf(context, method, bytes), held.cancellation, std::move(answer));
  call->Guard([&] {
    absl::Status entered = CheckWhole(request);
    if (entered.ok() && door.admission == nullptr) {
      entered = CheckShort(method, bytes);
    } else if (entered.ok()) {
      held.ticket = std::make_shared<Admission::Ticket>(*door.admission);
      entered = door.is_stream
                    ? door.admission->EnterStream(bytes, *held.ticket)
                    : door.admission->Enter(bytes, *held.ticket);
    }
    if (!entered.ok()) return call->Finish(entered);
    if (held.ticket != nullptr) call->set_ticket(held.ticket);
    handler(call);
  });
  return held;
}

void ReadMessage(const std::shared_ptr<Call>& call, core::ComputePool& pool,
                 grpc::ByteBuffer& bytes, const WireContract& contract,
                 int64_t max_axis, google::protobuf::Message& message,
                 std::function<void()> then) {
  const auto charge = [&call = *call](int64_t taken) {
    return call.TakeBytes({{memory::Kind::kMessages, taken}});
  };
  if (bytes.Length() <= kInlineBytes) {
    const absl::Status status =
        ParseMessage(bytes, contract, max_axis, message, charge);
    return status.ok() ? then() : call->Finish(status);
  }
  const auto taken = std::make_shared<grpc::ByteBuffer>();
  taken->Swap(&bytes);
  pool.Submit(
      {{1,
        [taken, &contract, max_axis, &message, charge](int64_t,
                                                       core::Workspace&) {
          return ParseMessage(*taken, contract, max_axis, message, charge);
        }}},
      call->cancellation(),
      [call, then = std::move(then)](const absl::Status& status) {
        call->Guard(
            [&] { status.ok() ? then() : call->Finish(FromPool(status)); });
      });
}

grpc::ServerUnaryReactor* ServeUnary(
    grpc::CallbackServerContext& context, const Door& door, const char* method,
    const grpc::ByteBuffer* request, const grpc::ByteBuffer* reply,
    absl::FunctionRef<void(const std::shared_ptr<Call>&,
                           grpc::ByteBuffer& request)>
        handler) {
  // gRPC calls no reaction before this function has returned.
  auto* const reactor = new UnaryReactor;
  const auto answer = [reactor, reply](grpc::Status status) {
    if (status.ok() && !reply->Valid()) {
      status = ToGrpcStatus(absl::InternalError("the call has no reply"));
    }
    reactor->Finish(std::move(status));
  };
  try {
    reactor->Hold(Admit(context, door, method, request, answer,
                        [&](const std::shared_ptr<Call>& call) {
                          // gRPC's own object, which nobody else reads: its
                          // memory is given back as soon as it has been read.
                          handler(call,
                                  const_cast<grpc::ByteBuffer&>(*request));
                        }));
  } catch (const std::bad_alloc&) {
    // Thrown before there was a call, so nobody else answers.
    reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, ""});
  }
  return reactor;
}

}  // namespace attention::rpc
