// A server in the process of the test, and a client of it. Keeps the generated
// service code and most of gRPC, which are slow to compile, out of the tests.
#ifndef TESTS_SUPPORT_SERVICE_FIXTURE_H_
#define TESTS_SUPPORT_SERVICE_FIXTURE_H_

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "attention/v1/attention.pb.h"
#include "server/config.h"
#include "server/server.h"

namespace grpc {
class Channel;
class ClientContext;
}  // namespace grpc

namespace attention {

// A status with its google.rpc details.
struct Refusal {
  grpc::StatusCode code = grpc::StatusCode::OK;
  std::string message;
  std::string field;        // of BadRequest
  std::string description;  // of BadRequest
  bool retry = false;       // RetryInfo is there
  std::string reason;       // of ErrorInfo
  std::map<std::string, std::string> metadata;

  explicit Refusal(const grpc::Status& status);
};
std::ostream& operator<<(std::ostream& out, const Refusal& refusal);

// Blocking calls over a channel.
class TestClient {
 public:
  explicit TestClient(const std::shared_ptr<grpc::Channel>& channel);
  ~TestClient();

  grpc::Status Compute(const v1::ComputeAttentionRequest& request,
                       v1::ComputeAttentionResponse* reply,
                       grpc::ClientContext* context = nullptr);
  grpc::Status Set(const v1::SetWeightsRequest& request,
                   v1::SetWeightsResponse* reply,
                   grpc::ClientContext* context = nullptr);
  // All messages of the stream; `stop_after` cancels after that many.
  grpc::Status Get(const v1::GetWeightsRequest& request,
                   std::vector<v1::GetWeightsResponse>* replies,
                   size_t stop_after = SIZE_MAX);
  grpc::Status List(const v1::ListWeightsRequest& request,
                    v1::ListWeightsResponse* reply);
  grpc::Status Delete(const v1::DeleteWeightsRequest& request,
                      v1::DeleteWeightsResponse* reply);
  grpc::Status SetLabel(const v1::SetLabelRequest& request,
                        v1::SetLabelResponse* reply);
  grpc::Status Info(v1::GetServerInfoResponse* reply,
                    grpc::ClientContext* context = nullptr);

 private:
  struct Stub;
  std::unique_ptr<Stub> stub_;
};

// A server on a free loopback port and a client over its in-process channel.
class TestServer {
 public:
  explicit TestServer(const server::Config& config = TestConfig());

  // Two threads, port 0.
  static server::Config TestConfig();

  // The same, with a --memory-limit of which `lendable` bytes can be lent, and
  // messages of at most half of them.
  static server::Config ConfigOfMemory(int64_t lendable);

  server::Server& server() { return *server_; }
  TestClient& client() { return *client_; }
  std::string target() const;

 private:
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<TestClient> client_;
};

// A unary call by name and bytes, for services without generated code here.
grpc::Status RawCall(const std::shared_ptr<grpc::Channel>& channel,
                     const std::string& method, const std::string& request,
                     std::string* reply);

// Sends one message over a bidirectional stream, by name and bytes, and returns
// the first answer.
std::string RawExchange(const std::shared_ptr<grpc::Channel>& channel,
                        const std::string& method, const std::string& request);

// One StreamAttention. Send and Close are for one thread, Receive for one
// other.
class TestStream {
 public:
  explicit TestStream(const std::shared_ptr<grpc::Channel>& channel,
                      std::chrono::system_clock::time_point deadline =
                          std::chrono::system_clock::time_point::max());
  // Cancels and waits if need be.
  ~TestStream();

  // False if the stream has ended.
  bool Send(uint64_t id, const v1::ComputeAttentionRequest& request);
  bool SendBytes(const std::string& message);
  void Close();
  // The next answer; nothing if the stream has ended.
  std::optional<v1::StreamAttentionResponse> Receive();
  std::string ReceiveBytes();
  void Cancel();
  grpc::Status Finish();

 private:
  struct Call;
  std::unique_ptr<Call> call_;
};

// Whether grpc.health.v1 says SERVING of `service`, "" for the server.
bool IsServing(const std::shared_ptr<grpc::Channel>& channel,
               const std::string& service);

// Collects the lines that spdlog writes while it lives.
class LogLines {
 public:
  LogLines();
  ~LogLines();
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;

  std::vector<std::string> lines() const;
  // The lines that contain `text`.
  std::vector<std::string> With(const std::string& text) const;

 private:
  class Sink;
  std::shared_ptr<Sink> sink_;
};

// Waits, up to a minute, until `condition` holds; whether it did.
bool WaitUntil(const std::function<bool()>& condition);

// A connection over the loopback, for messages of any size.
std::shared_ptr<grpc::Channel> SocketTo(const TestServer& server);

// FLOAT32 as data, with elements that differ from each other.
v1::Tensor Floats(std::vector<int64_t> shape, double phase = 0);
// Elements given, in any float dtype or BOOL, as data (or as values).
v1::Tensor TensorOf(v1::DataType dtype, std::vector<int64_t> shape,
                    const std::vector<double>& elements,
                    bool as_values = false);
// The elements of a tensor, whatever its dtype.
std::vector<double> Elements(const v1::Tensor& tensor);
std::vector<int64_t> ShapeOf(const v1::Tensor& tensor);

// A computation of many short tasks that together take half a minute of a
// thread, for tests that cancel it or fill the server with it.
v1::ComputeAttentionRequest EndlessRequest();

// A weight set of distinct elements, IN_OUT, with biases.
v1::WeightSet SmallWeightSet(int32_t num_heads = 2, int64_t width = 4,
                             int64_t head_dim = 3, int64_t value_dim = 2,
                             int64_t output_width = 5);

}  // namespace attention

#endif  // TESTS_SUPPORT_SERVICE_FIXTURE_H_
