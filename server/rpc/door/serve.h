// The one door that every handler goes through.
#ifndef SERVER_RPC_DOOR_SERVE_H_
#define SERVER_RPC_DOOR_SERVE_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "absl/functional/function_ref.h"
#include "server/rpc/door/admission.h"
#include "server/rpc/door/call.h"
#include "server/rpc/door/door.h"
#include "server/rpc/door/message.h"

namespace attention::rpc {

// Metadata key of the request id: taken from the client if it sends 1 to 64 of
// letters, digits and "._-", made here otherwise. In the trailers of every
// refusal, and of every answer to a client that sent one; others go without a
// header that nobody asked for.
inline constexpr char kRequestIdKey[] = "x-request-id";

// What a handler does with a call that was let in.
using Handler = absl::FunctionRef<void(const std::shared_ptr<Call>&)>;

// A reactor's share of a call: what has to outlive the answer, until gRPC is
// done with it.
struct Held {
  std::shared_ptr<core::Cancellation> cancellation;
  std::shared_ptr<Admission::Ticket> ticket;
  // Of the connection, which is told of each message of a stream; null where
  // nobody watches what arrives.
  std::shared_ptr<Arrival> arrival;
};

// INVALID_ARGUMENT for a message that never came: gRPC calls a handler of bytes
// also for a call that ended before its message had come, or without one. Null
// is right: the handler reads messages one by one.
absl::Status CheckWhole(const grpc::ByteBuffer* request);

// The connection of a call, which is told of the call and of `request`, the
// message it came with, null if they are read one by one. Null where nobody
// watches what arrives.
std::shared_ptr<Arrival> ArrivalOf(const grpc::CallbackServerContext& context,
                                   const Arrivals& arrivals,
                                   const grpc::ByteBuffer* request);

// RESOURCE_EXHAUSTED for more than kInlineBytes.
absl::Status CheckShort(const char* method, int64_t bytes);

// Lets a call in, or refuses it, and runs `handler`: request id, admission,
// deadline and cancellation, exceptions. `request` is the message the call came
// with, null if the handler reads them one by one; one that never came is
// refused here, so every handler finds it whole. `answer` hands a status to
// gRPC. Returns what the reactor has to hold.
Held Admit(grpc::CallbackServerContext& context, const Door& door,
           const char* method, const grpc::ByteBuffer* request,
           std::function<void(grpc::Status)> answer, Handler handler);

// Serves a unary method whose handler reads `request` and writes `reply`, both
// gRPC's and there until the call is finished; what is in `request` may be
// taken. OK without a reply, a mistake at which gRPC would end the process, is
// answered INTERNAL.
grpc::ServerUnaryReactor* ServeUnary(
    grpc::CallbackServerContext& context, const Door& door, const char* method,
    const grpc::ByteBuffer* request, const grpc::ByteBuffer* reply,
    absl::FunctionRef<void(const std::shared_ptr<Call>&,
                           grpc::ByteBuffer& request)>
        handler);

// Takes what is in `bytes`, reads it into `message`, at once if it is short and
// otherwise on `pool`, and calls `then`; or finishes `call` with the error.
// `message` lives as long as `then`.
void ReadMessage(const std::shared_ptr<Call>& call, core::ComputePool& pool,
                 grpc::ByteBuffer& bytes, const WireContract& contract,
                 int64_t max_axis, google::protobuf::Message& message,
                 std::function<void()> then);

// Reads what came in `bytes`, whole and of at most kInlineBytes, into
// `message`, for a method that has no place among the requests in flight.
template <typename Message>
absl::Status ReadShort(grpc::ByteBuffer& bytes, const char* method,
                       Message& message) {
  absl::Status status = CheckWhole(&bytes);
  if (status.ok()) {
    status = CheckShort(method, static_cast<int64_t>(bytes.Length()));
  }
  if (!status.ok()) return status;
  // Of these no message takes more than its few bytes.
  return ParseMessage(bytes, ContractOf<Message>(), /*max_axis=*/0, message,
                      [](int64_t) { return absl::OkStatus(); });
}

// Serves a unary method of messages: reads the request, and hands it to
// `handler` with a reply to fill before it finishes the call. Both live until
// then. A long message is read on the pool, as ReadMessage has it.
template <typename Request, typename Reply>
grpc::ServerUnaryReactor* ServeMessage(
    grpc::CallbackServerContext& context, const Door& door, const char* method,
    const grpc::ByteBuffer* request, grpc::ByteBuffer* reply,
    std::function<void(const std::shared_ptr<Call>&, const Request&, Reply&)>
        handler) {
  struct Messages {
    Request request;
    Reply reply;
  };
  return ServeUnary(
      context, door, method, request, reply,
      [&](const std::shared_ptr<Call>& call, grpc::ByteBuffer& bytes) {
        const auto messages = std::make_shared<Messages>();
        call->set_reply({messages, &messages->reply}, reply);
        ReadMessage(call, door.pool, bytes, ContractOf<Request>(),
                    door.max_axis, messages->request,
                    [call, messages, handler = std::move(handler)] {
                      handler(call, messages->request, messages->reply);
                    });
      });
}

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_SERVE_H_
