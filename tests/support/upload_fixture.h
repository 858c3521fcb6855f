// What the tests of UploadWeights share.
#ifndef TESTS_SUPPORT_UPLOAD_FIXTURE_H_
#define TESTS_SUPPORT_UPLOAD_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/service_fixture.h"
#include "tests/support/test_upload.h"

namespace attention {

using Messages = std::vector<v1::UploadWeightsRequest>;

// Small tensors in chunks of two elements.
inline constexpr int64_t kSmallChunk = 2 * sizeof(float);

inline v1::SetWeightsRequest SmallRequest(const std::string& name = "layer",
                                          double phase = 0) {
  v1::SetWeightsRequest request;
  request.set_name(name);
  *request.mutable_weights() = SmallWeightSet();
  *request.mutable_weights()->mutable_query()->mutable_weight() =
      Floats({4, 6}, phase);
  return request;
}

class ServiceUploadTest : public ::testing::Test {
 protected:
  // What SetWeights says of the same contents, on another server.
  static std::string Sha256Of(const v1::SetWeightsRequest& request) {
    TestServer other;
    v1::SetWeightsRequest plain;
    plain.set_name("other");
    *plain.mutable_weights() = request.weights();
    v1::SetWeightsResponse reply;
    const grpc::Status status = other.client().Set(plain, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.version().sha256();
  }

  static Messages MessagesOf(const v1::SetWeightsRequest& request,
                             int64_t chunk_bytes = kSmallChunk) {
    return UploadOf(request, Sha256Of(request), chunk_bytes);
  }

  grpc::Status Send(const Messages& messages,
                    v1::UploadWeightsResponse* reply = nullptr) {
    TestUpload upload(server_.server().InProcessChannel());
    for (const auto& message : messages) {
      if (!upload.Send(message)) break;
    }
    grpc::Status status = upload.Finish();
    if (reply != nullptr) *reply = upload.reply();
    return status;
  }

  v1::WeightSetVersion Upload(const Messages& messages) {
    v1::UploadWeightsResponse reply;
    const grpc::Status status = Send(messages, &reply);
    EXPECT_TRUE(status.ok()) << Refusal(status);
    return reply.version();
  }

  Refusal Refused(const Messages& messages) { return Refusal(Send(messages)); }

  int Versions() {
    v1::ListWeightsResponse reply;
    EXPECT_TRUE(server_.client().List({}, &reply).ok());
    return reply.versions_size();
  }

  // That no version, no call and no byte is there.
  void ExpectNothingLeft() {
    EXPECT_EQ(Versions(), 0);
    EXPECT_TRUE(WaitUntil([&] { return server_.server().idle(); }));
    EXPECT_EQ(server_.server().bytes_in_flight(), 0);
  }

  TestServer server_;
};

}  // namespace attention

#endif  // TESTS_SUPPORT_UPLOAD_FIXTURE_H_
