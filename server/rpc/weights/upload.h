// What UploadWeights brings.
#ifndef SERVER_RPC_WEIGHTS_UPLOAD_H_
#define SERVER_RPC_WEIGHTS_UPLOAD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "server/rpc/backend.h"

namespace attention::rpc {

// Takes a weight set in chunks and appends it when all of it has come: one
// message at a time, each copied into place, checked and hashed by a task of
// the pool before the next is read. Memory is taken out of the ledger as
// tensors come, and given back, as is the memory itself, when the stream is
// over; when there is none to lend, the upload that began last gives way.
//
// `backend` and `reply` outlive the stream.
grpc::ServerReadReactor<grpc::ByteBuffer>* ServeUploadWeights(
    grpc::CallbackServerContext& context, const Backend& backend,
    grpc::ByteBuffer* reply);

}  // namespace attention::rpc

#endif  // SERVER_RPC_WEIGHTS_UPLOAD_H_
