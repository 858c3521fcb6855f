// One UploadWeights, message by message.
#ifndef TESTS_SUPPORT_TEST_UPLOAD_H_
#define TESTS_SUPPORT_TEST_UPLOAD_H_

#include <grpcpp/support/status.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "attention/v1/attention.pb.h"

namespace grpc {
class Channel;
}  // namespace grpc

namespace attention {

// The messages of an upload of `request`, whose tensors carry data, in chunks
// of `chunk_bytes`; `sha256` is the last.
std::vector<v1::UploadWeightsRequest> UploadOf(
    const v1::SetWeightsRequest& request, const std::string& sha256,
    int64_t chunk_bytes = int64_t{1} << 20);

// One UploadWeights. For one thread.
class TestUpload {
 public:
  explicit TestUpload(const std::shared_ptr<grpc::Channel>& channel,
                      std::chrono::system_clock::time_point deadline =
                          std::chrono::system_clock::time_point::max());
  // Cancels and waits if need be.
  ~TestUpload();

  // False if the call has ended.
  bool Send(const v1::UploadWeightsRequest& message);
  void Cancel();
  // Nothing more is sent; waits for the answer.
  grpc::Status Finish();
  // Waits for an answer that does not need the end of what is sent.
  grpc::Status Wait();
  const v1::UploadWeightsResponse& reply() const;

 private:
  struct Call;
  std::unique_ptr<Call> call_;
};

}  // namespace attention

#endif  // TESTS_SUPPORT_TEST_UPLOAD_H_
