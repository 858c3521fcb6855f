#include "tests/support/test_upload.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include <utility>

#include "attention/v1/attention.grpc.pb.h"

namespace attention {

std::vector<v1::UploadWeightsRequest> UploadOf(
    const v1::SetWeightsRequest& request, const std::string& sha256,
    int64_t chunk_bytes) {
  std::vector<v1::UploadWeightsRequest> messages(1);
  auto& header = *messages.front().mutable_header();
  header.set_name(request.name());
  if (request.has_expected_version()) {
    header.set_expected_version(request.expected_version());
  }
  header.set_idempotency_key(request.idempotency_key());
  *header.mutable_labels() = request.labels();
  *header.mutable_annotations() = request.annotations();
  v1::WeightSet weights = request.weights();
  const auto add = [&](const std::string& path, v1::Tensor& tensor) {
    const std::string data = std::move(*tensor.mutable_data());
    tensor.clear_data();
    const auto step = static_cast<size_t>(chunk_bytes);
    for (size_t offset = 0; offset < data.size(); offset += step) {
      v1::TensorChunk& chunk = *messages.emplace_back().mutable_chunk();
      chunk.set_tensor(path);
      chunk.set_offset(static_cast<int64_t>(offset));
      chunk.set_data(data.substr(offset, step));
    }
  };
  std::vector<std::pair<std::string, v1::Projection*>> projections = {
      {"query", weights.mutable_query()},
      {"key", weights.mutable_key()},
      {"value", weights.mutable_value()}};
  if (weights.has_output()) {
    projections.emplace_back("output", weights.mutable_output());
  }
  for (const auto& [name, projection] : projections) {
    add(name + ".weight", *projection->mutable_weight());
    if (projection->has_bias()) {
      add(name + ".bias", *projection->mutable_bias());
    }
  }
  *messages.front().mutable_header()->mutable_weights() = std::move(weights);
  messages.emplace_back().set_sha256(sha256);
  return messages;
}

struct TestUpload::Call {
  grpc::ClientContext context;
  v1::UploadWeightsResponse reply;
  std::unique_ptr<grpc::ClientWriter<v1::UploadWeightsRequest>> writer;
  bool finished = false;
};

TestUpload::TestUpload(const std::shared_ptr<grpc::Channel>& channel,
                       std::chrono::system_clock::time_point deadline)
    : call_(new Call) {
  if (deadline != std::chrono::system_clock::time_point::max()) {
    call_->context.set_deadline(deadline);
  }
  static const grpc::internal::RpcMethod method(
      "/attention.v1.AttentionService/UploadWeights",
      grpc::internal::RpcMethod::CLIENT_STREAMING);
  call_->writer.reset(
      grpc::internal::ClientWriterFactory<v1::UploadWeightsRequest>::Create(
          channel.get(), method, &call_->context, &call_->reply));
}

TestUpload::~TestUpload() {
  if (call_->finished) return;
  Cancel();
  Wait();
}

bool TestUpload::Send(const v1::UploadWeightsRequest& message) {
  return call_->writer->Write(message);
}

void TestUpload::Cancel() { call_->context.TryCancel(); }

grpc::Status TestUpload::Finish() {
  call_->writer->WritesDone();
  return Wait();
}

grpc::Status TestUpload::Wait() {
  call_->finished = true;
  return call_->writer->Finish();
}

const v1::UploadWeightsResponse& TestUpload::reply() const {
  return call_->reply;
}

}  // namespace attention
