#include "tests/support/service_fixture.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <ostream>
#include <thread>
#include <utility>

#include "attention/v1/attention.grpc.pb.h"
#include "proto/codec.h"

namespace attention {

Refusal::Refusal(const grpc::Status& status)
    : code(status.error_code()), message(status.error_message()) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& any : details.details()) {
    google::rpc::BadRequest bad_request;
    google::rpc::RetryInfo retry_info;
    google::rpc::ErrorInfo error_info;
    if (any.UnpackTo(&bad_request)) {
      field = bad_request.field_violations(0).field();
      description = bad_request.field_violations(0).description();
    } else if (any.UnpackTo(&retry_info)) {
      retry = retry_info.retry_delay().nanos() > 0;
    } else if (any.UnpackTo(&error_info)) {
      reason = error_info.reason();
      metadata.insert(error_info.metadata().begin(),
                      error_info.metadata().end());
    }
  }
}

std::ostream& operator<<(std::ostream& out, const Refusal& refusal) {
  return out << "code " << refusal.code << ", field \"" << refusal.field
             << "\", reason \"" << refusal.reason << "\", retry "
             << refusal.retry << ": " << refusal.message;
}

struct TestClient::Stub {
  std::unique_ptr<v1::AttentionService::Stub> service;
};

TestClient::TestClient(const std::shared_ptr<grpc::Channel>& channel)
    : stub_(new Stub{v1::AttentionService::NewStub(channel)}) {}

TestClient::~TestClient() = default;

grpc::Status TestClient::Compute(const v1::ComputeAttentionRequest& request,
                                 v1::ComputeAttentionResponse* reply,
                                 grpc::ClientContext* context) {
  grpc::ClientContext own;
  return stub_->service->ComputeAttention(context != nullptr ? context : &own,
                                          request, reply);
}

grpc::Status TestClient::Set(const v1::SetWeightsRequest& request,
                             v1::SetWeightsResponse* reply,
                             grpc::ClientContext* context) {
  grpc::ClientContext own;
  return stub_->service->SetWeights(context != nullptr ? context : &own,
                                    request, reply);
}

grpc::Status TestClient::Get(const v1::GetWeightsRequest& request,
                             std::vector<v1::GetWeightsResponse>* replies,
                             size_t stop_after) {
  grpc::ClientContext context;
  const auto reader = stub_->service->GetWeights(&context, request);
  v1::GetWeightsResponse message;
  while (reader->Read(&message)) {
    replies->push_back(message);
    if (replies->size() == stop_after) context.TryCancel();
  }
  return reader->Finish();
}

grpc::Status TestClient::List(const v1::ListWeightsRequest& request,
                              v1::ListWeightsResponse* reply) {
  grpc::ClientContext context;
  return stub_->service->ListWeights(&context, request, reply);
}

grpc::Status TestClient::Delete(const v1::DeleteWeightsRequest& request,
                                v1::DeleteWeightsResponse* reply) {
  grpc::ClientContext context;
  return stub_->service->DeleteWeights(&context, request, reply);
}

grpc::Status TestClient::SetLabel(const v1::SetLabelRequest& request,
                                  v1::SetLabelResponse* reply) {
  grpc::ClientContext context;
  return stub_->service->SetLabel(&context, request, reply);
}

grpc::Status TestClient::Info(v1::GetServerInfoResponse* reply,
                              grpc::ClientContext* context) {
  grpc::ClientContext own;
  return stub_->service->GetServerInfo(context != nullptr ? context : &own, {},
                                       reply);
}

TestServer::TestServer(const server::Config& config) {
  auto reservation = server::Reserve(config);
  if (!reservation.ok()) {
    ADD_FAILURE() << reservation.status();
    std::abort();
  }
  auto started = server::Server::Start(
      config,
      {"1.2.3",
       {"OpenBLAS of the test", "Kernel", "Taken", "it is the test's"}},
      *std::move(reservation));
  if (!started.ok()) {
    ADD_FAILURE() << started.status();
    std::abort();
  }
  server_ = *std::move(started);
  client_ = std::make_unique<TestClient>(server_->InProcessChannel());
}

server::Config TestServer::TestConfig() {
  server::Config config;
  config.listen = {"127.0.0.1:0"};
  config.addresses = {*server::ParseListenAddress(config.listen.front())};
  config.threads = 2;
  // An in-process channel that is asked to leave cannot come back.
  config.limits.connections.max_connection_age_seconds = 86400;
  return config;
}

server::Config TestServer::ConfigOfMemory(int64_t lendable) {
  server::Config config = TestConfig();
  config.limits.max_message_bytes = lendable / 2;
  int64_t& limit = config.limits.memory_limit;
  limit = lendable;
  while (memory::Ledger(limit).lendable() < lendable) ++limit;
  return config;
}

std::string TestServer::target() const {
  return "127.0.0.1:" + std::to_string(server_->port());
}

grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& method, const std::string& request,
                     std::string* reply) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const grpc::Slice slice(request);
  const auto call = stub.PrepareUnaryCall(&context, method,
                                          grpc::ByteBuffer(&slice, 1), &queue);
  call->StartCall();
  grpc::ByteBuffer answer;
  grpc::Status status;
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  grpc::Slice whole;
  reply->clear();
  if (status.ok() && answer.DumpToSingleSlice(&whole).ok()) {
    reply->assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  return status;
}

std::string RawExchange(const std::shared_ptr<grpc::Channel>& channel,
                        const std::string& method, const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareCall(&context, method, &queue);
  void* tag = nullptr;
  bool ok = false;
  call->StartCall(nullptr);
  queue.Next(&tag, &ok);
  const grpc::Slice slice(request);
  call->WriteLast(grpc::ByteBuffer(&slice, 1), {}, nullptr);
  queue.Next(&tag, &ok);
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  queue.Next(&tag, &ok);
  EXPECT_TRUE(ok);
  grpc::Slice whole;
  std::string bytes;
  if (ok && answer.DumpToSingleSlice(&whole).ok()) {
    bytes.assign(reinterpret_cast<const char*>(whole.begin()), whole.size());
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  queue.Next(&tag, &ok);
  return bytes;
}

struct TestStream::Call {
  using Bytes = grpc::ByteBuffer;

  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<Bytes, Bytes>> stream;
  bool finished = false;
};

TestStream::TestStream(const std::shared_ptr<grpc::Channel>& channel,
                       std::chrono::system_clock::time_point deadline)
    : call_(new Call) {
  using Bytes = Call::Bytes;
  if (deadline != std::chrono::system_clock::time_point::max()) {
    call_->context.set_deadline(deadline);
  }
  static const grpc::internal::RpcMethod method(
      "/attention.v1.AttentionService/StreamAttention",
      grpc::internal::RpcMethod::BIDI_STREAMING);
  call_->stream.reset(
      grpc::internal::ClientReaderWriterFactory<Bytes, Bytes>::Create(
          channel.get(), method, &call_->context));
}

TestStream::~TestStream() {
  if (call_->finished) return;
  Cancel();
  Finish();
}

bool TestStream::Send(uint64_t id, const v1::ComputeAttentionRequest& request) {
  v1::StreamAttentionRequest message;
  message.set_id(id);
  *message.mutable_request() = request;
  return SendBytes(message.SerializeAsString());
}

bool TestStream::SendBytes(const std::string& message) {
  const grpc::Slice slice(message);
  return call_->stream->Write(grpc::ByteBuffer(&slice, 1));
}

void TestStream::Close() { call_->stream->WritesDone(); }

std::optional<v1::StreamAttentionResponse> TestStream::Receive() {
  grpc::ByteBuffer bytes;
  if (!call_->stream->Read(&bytes)) return std::nullopt;
  grpc::Slice whole;
  v1::StreamAttentionResponse answer;
  EXPECT_TRUE(bytes.DumpToSingleSlice(&whole).ok());
  EXPECT_TRUE(
      answer.ParseFromArray(whole.begin(), static_cast<int>(whole.size())));
  return answer;
}

std::string TestStream::ReceiveBytes() {
  grpc::ByteBuffer bytes;
  grpc::Slice whole;
  EXPECT_TRUE(call_->stream->Read(&bytes));
  EXPECT_TRUE(bytes.DumpToSingleSlice(&whole).ok());
  return {reinterpret_cast<const char*>(whole.begin()), whole.size()};
}

void TestStream::Cancel() { call_->context.TryCancel(); }

grpc::Status TestStream::Finish() {
  // The status comes after every answer.
  grpc::ByteBuffer bytes;
  while (call_->stream->Read(&bytes)) {
  }
  call_->finished = true;
  return call_->stream->Finish();
}

bool IsServing(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& service) {
  // HealthCheckRequest.service is field 1; HealthCheckResponse.status is field
  // 1, SERVING is 1.
  std::string request;
  if (!service.empty()) {
    request = {'\x0A', static_cast<char>(service.size())};
    request += service;
  }
  std::string reply;
  const grpc::Status status =
      RawCall(channel, "/grpc.health.v1.Health/Check", request, &reply);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return reply == std::string{'\x08', '\x01'};
}

class LogLines::Sink : public spdlog::sinks::base_sink<std::mutex> {
 public:
  std::vector<std::string> lines() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return lines_;
  }

 protected:
  void sink_it_(const spdlog::details::log_msg& line) override {
    const auto level = spdlog::level::to_string_view(line.level);
    lines_.push_back(std::string(level.data(), level.size()) + " " +
                     std::string(line.payload.data(), line.payload.size()));
  }
  void flush_() override {}

 private:
  std::vector<std::string> lines_;
};

LogLines::LogLines() : sink_(std::make_shared<Sink>()) {
  const auto logger = std::make_shared<spdlog::logger>("lines", sink_);
  logger->set_level(spdlog::level::debug);
  spdlog::set_default_logger(logger);
}

LogLines::~LogLines() {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("none"));
}

std::vector<std::string> LogLines::lines() const { return sink_->lines(); }

std::vector<std::string> LogLines::With(const std::string& text) const {
  std::vector<std::string> found;
  for (const std::string& line : lines()) {
    if (line.find(text) != std::string::npos) found.push_back(line);
  }
  return found;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

std::shared_ptr<grpc::Channel> SocketTo(const TestServer& server) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(
      server.target(), grpc::InsecureChannelCredentials(), arguments);
}

v1::Tensor Floats(std::vector<int64_t> shape, double phase) {
  int64_t count = 1;
  for (const int64_t axis : shape) count *= axis;
  std::vector<double> elements(static_cast<size_t>(count));
  for (size_t i = 0; i < elements.size(); ++i) {
    elements[i] = std::sin(phase + 0.7 * static_cast<double>(i));
  }
  return TensorOf(v1::DATA_TYPE_FLOAT32, std::move(shape), elements);
}

v1::Tensor TensorOf(v1::DataType dtype, std::vector<int64_t> shape,
                    const std::vector<double>& elements, bool as_values) {
  v1::Tensor tensor;
  if (dtype == v1::DATA_TYPE_BOOL || as_values) {
    tensor.set_dtype(dtype);
    tensor.mutable_shape()->Assign(shape.begin(), shape.end());
    for (const double element : elements) {
      if (as_values) {
        tensor.add_values(element);
      } else {
        tensor.mutable_data()->push_back(element != 0 ? '\1' : '\0');
      }
    }
    return tensor;
  }
  const absl::Status status =
      EncodeTensor<double>(elements, shape, dtype, false, "test", tensor);
  EXPECT_TRUE(status.ok()) << status;
  return tensor;
}

std::vector<double> Elements(const v1::Tensor& tensor) {
  if (tensor.values_size() > 0) {
    return {tensor.values().begin(), tensor.values().end()};
  }
  const int64_t size = ElementSize(tensor.dtype());
  const auto count =
      static_cast<int64_t>(tensor.data().size()) / std::max<int64_t>(size, 1);
  std::vector<double> elements;
  for (int64_t i = 0; i < count; ++i) {
    const char* const at = tensor.data().data() + i * size;
    if (tensor.dtype() == v1::DATA_TYPE_FLOAT64) {
      double element = 0;
      std::memcpy(&element, at, sizeof(element));
      elements.push_back(element);
    } else if (tensor.dtype() == v1::DATA_TYPE_FLOAT32) {
      float element = 0;
      std::memcpy(&element, at, sizeof(element));
      elements.push_back(element);
    } else {
      // The 16-bit formats hold no infinity in these tests.
      const auto view = TensorView::Of(tensor, "reply");
      double element = 0;
      EXPECT_TRUE(
          view.ok() &&
          view->Read<double>(i, 1, TensorView::Accept::kFinite, &element).ok());
      elements.push_back(element);
    }
  }
  return elements;
}

std::vector<int64_t> ShapeOf(const v1::Tensor& tensor) {
  return {tensor.shape().begin(), tensor.shape().end()};
}

v1::ComputeAttentionRequest EndlessRequest() {
  // 2^34 exponentials and random numbers, some nanoseconds each, in 2^13 tasks
  // or more. Scratch memory is little beside the message.
  constexpr int64_t kQueryLen = int64_t{1} << 21;
  constexpr int64_t kKvLen = int64_t{1} << 13;
  v1::ComputeAttentionRequest request;
  *request.mutable_query() = Floats({kQueryLen, 1});
  *request.mutable_key() = Floats({kKvLen, 1});
  request.mutable_dropout()->set_probability(0.5);
  return request;
}

v1::WeightSet SmallWeightSet(int32_t num_heads, int64_t width, int64_t head_dim,
                             int64_t value_dim, int64_t output_width) {
  v1::WeightSet set;
  set.set_num_heads(num_heads);
  set.set_layout(v1::LAYOUT_IN_OUT);
  double phase = 0;
  const auto fill = [&](v1::Projection& projection, int64_t in, int64_t out) {
    *projection.mutable_weight() = Floats({in, out}, phase += 1);
    *projection.mutable_bias() = Floats({out}, phase += 1);
  };
  fill(*set.mutable_query(), width, num_heads * head_dim);
  fill(*set.mutable_key(), width, num_heads * head_dim);
  fill(*set.mutable_value(), width, num_heads * value_dim);
  fill(*set.mutable_output(), num_heads * value_dim, output_width);
  return set;
}

}  // namespace attention
