// Client of the attention service.
//
//   attention::client::Client client("localhost:50051");
//   attention::v1::ComputeAttentionRequest request;
//   *request.mutable_query() = attention::client::MakeTensor(rows, {6, 3});
//   auto response = client.ComputeAttention(request);
//   if (!response.ok()) return response.status();
//   auto context = attention::client::ReadFloats(response->output());
#ifndef ATTENTION_CLIENT_H_
#define ATTENTION_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "attention/status.h"
#include "attention/stream.h"
#include "attention/tensor.h"
#include "attention/v1/attention.pb.h"

namespace grpc {
class Channel;
class ChannelCredentials;
}  // namespace grpc

namespace attention::client {

struct ClientOptions {
  // Bytes of the largest reply to accept, at most 2^31 - 1. gRPC's own default
  // of 4 MiB is a matrix of 1024 x 1024 floats. The server bounds its replies
  // too (GetServerInfoResponse.limits.max_result_bytes); this protects against
  // a server that should not be trusted with more memory of this process.
  int64_t max_reply_bytes = int64_t{1} << 30;

  // Null: plain text without authentication. TLS: attention/tls.h.
  std::shared_ptr<grpc::ChannelCredentials> credentials;

  // The name that the server's certificate must have; empty: the host of the
  // target. Without TLS it means nothing.
  std::string tls_server_name;

  // The longest pause between two attempts to reach a server that is not there,
  // which gRPC varies by a fifth; less than 100 ms count as that. Zero: gRPC's
  // own, which grows to two minutes.
  std::chrono::milliseconds longest_reconnect_pause{0};
};

struct CallOptions {
  // When to give up; the call then ends with DEADLINE_EXCEEDED, and the server
  // stops computing.
  std::chrono::system_clock::time_point deadline =
      std::chrono::system_clock::time_point::max();
};

// client.ComputeAttention(request, Within(std::chrono::seconds(2))).
CallOptions Within(std::chrono::nanoseconds timeout);

// One version of a weight set with its tensors.
struct StoredWeightSet {
  v1::WeightSetSummary summary;
  v1::WeightSet weights;
};

// Told after each chunk of a transfer, on the thread that called: how many
// bytes of tensors went over, and how many there are.
using OnProgress = std::function<void(int64_t bytes, int64_t total_bytes)>;

// Where an upload takes the elements of its tensors from: fills `data` with the
// bytes from `offset` on of the tensor at this path, such as "query.weight".
// Asked tensor by tensor in the order query, key, value, output, of each the
// weight and then the bias, without gap, on the thread that called. An error
// ends the upload, which returns it.
using TensorSource = std::function<absl::Status(
    const std::string& tensor, int64_t offset, absl::Span<char> data)>;

// One server. Every method but OpenStream blocks until the answer is there.
// Thread-safe; calls from several threads share one connection.
//
// Errors have the code and message the server gave; what it said about single
// fields is in FieldViolations(status), see attention/status.h. UNAVAILABLE
// means that no server was reached, or that it is shutting down.
class Client {
 public:
  // Connects at the first call. `target` is host:port or any gRPC name.
  explicit Client(const std::string& target, const ClientOptions& options = {});

  // Calls over a channel of one's own, with its receive limit.
  explicit Client(const std::shared_ptr<grpc::Channel>& channel);

  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  absl::StatusOr<v1::ComputeAttentionResponse> ComputeAttention(
      const v1::ComputeAttentionRequest& request,
      const CallOptions& options = {}) const;

  // The same without a copy of the request: the data of its tensors go out from
  // where they lie. gRPC shares `request` until it is done with it, which may
  // be later than this returns, after a failed call much later; nobody may
  // change it until then. For large requests. REQUIRES: not null.
  absl::StatusOr<v1::ComputeAttentionResponse> ComputeAttentionShared(
      const std::shared_ptr<const v1::ComputeAttentionRequest>& request,
      const CallOptions& options = {}) const;

  // A stream for many requests; opens at once, and tells by its answers and its
  // end if that failed. The deadline is that of the whole stream. It must not
  // outlive the client.
  std::unique_ptr<AttentionStream> OpenStream(
      AttentionStream::OnAnswer on_answer,
      const StreamOptions& stream_options = {},
      const CallOptions& options = {}) const;

  // One message, so a request beyond the server's limits.max_message_bytes is
  // RESOURCE_EXHAUSTED; UploadWeights takes it.
  absl::StatusOr<v1::SetWeightsResponse> SetWeights(
      const v1::SetWeightsRequest& request,
      const CallOptions& options = {}) const;

  // The same for weight sets of any size: the tensors go out in chunks out of
  // `request`, without a second copy of them. An initializer is refused; it is
  // SetWeights's. Tensors that contradict themselves are refused as
  // INVALID_ARGUMENT before anything is sent.
  absl::StatusOr<v1::UploadWeightsResponse> UploadWeights(
      const v1::SetWeightsRequest& request, const CallOptions& options = {},
      const OnProgress& on_progress = {}) const;

  // The same with tensors that need not be in memory.
  absl::StatusOr<v1::UploadWeightsResponse> UploadWeights(
      const v1::UploadWeightsRequest::Header& header,
      const TensorSource& source, const CallOptions& options = {},
      const OnProgress& on_progress = {}) const;

  // Puts the tensors together from the stream, each where it stays: takes the
  // memory of the set and of a few chunks. DATA_LOSS if they are not complete,
  // do not fit their shapes, or do not have the SHA-256 that the server stated;
  // RESOURCE_EXHAUSTED if this process has no memory for them.
  absl::StatusOr<StoredWeightSet> GetWeights(
      const v1::GetWeightsRequest& request, const CallOptions& options = {},
      const OnProgress& on_progress = {}) const;

  // One page.
  absl::StatusOr<v1::ListWeightsResponse> ListWeights(
      const v1::ListWeightsRequest& request,
      const CallOptions& options = {}) const;

  // All pages from request.page_token on. Versions appended or deleted
  // meanwhile may be missing or present.
  absl::StatusOr<std::vector<v1::WeightSetSummary>> ListAllWeights(
      v1::ListWeightsRequest request, const CallOptions& options = {}) const;

  absl::StatusOr<v1::DeleteWeightsResponse> DeleteWeights(
      const v1::DeleteWeightsRequest& request,
      const CallOptions& options = {}) const;

  absl::StatusOr<v1::SetLabelResponse> SetLabel(
      const v1::SetLabelRequest& request,
      const CallOptions& options = {}) const;

  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const CallOptions& options = {}) const;

  // Whether the server takes requests (grpc.health.v1).
  absl::StatusOr<bool> IsServing(const CallOptions& options = {}) const;

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace attention::client

#endif  // ATTENTION_CLIENT_H_
