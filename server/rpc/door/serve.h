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
};

// Lets a call in, or refuses it, and runs `handler`: request id, admission,
// deadline and cancellation, exceptions. The request's message has
// `request_bytes`; `reply` is the one message of the answer, null if there are
// several or the handler counts its bytes itself; `answer` hands a status to
// gRPC. Returns what the reactor has to hold.
Held Admit(grpc::CallbackServerContext& context, Admission& admission,
           const char* method, int64_t request_bytes,
           const google::protobuf::Message* reply,
           std::function<void(grpc::Status)> answer, Handler handler);

// Serves a unary method; request_bytes and reply as in Admit.
grpc::ServerUnaryReactor* ServeUnary(grpc::CallbackServerContext& context,
                                     Admission& admission, const char* method,
                                     int64_t request_bytes,
                                     const google::protobuf::Message* reply,
                                     Handler handler);

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_SERVE_H_
