// UploadWeights over an in-process channel: what is refused, and that whatever
// breaks off leaves nothing behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

#include "tests/support/upload_fixture.h"

namespace attention {
namespace {

using ::testing::HasSubstr;
using Code = grpc::StatusCode;

using ServiceUploadRefusals = ServiceUploadTest;

TEST_F(ServiceUploadRefusals, UploadThatEndsEarlyLeavesNothing) {
  const Messages messages = MessagesOf(SmallRequest(), 16);
  for (size_t sent = 0; sent < messages.size(); ++sent) {
    const Refusal refusal =
        Refused({messages.begin(),
                 messages.begin() + static_cast<std::ptrdiff_t>(sent)});
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
    EXPECT_EQ(refusal.field, sent == 0 ? "header" : "sha256") << refusal;
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

TEST_F(ServiceUploadRefusals, UploadThatIsCancelledLeavesNothing) {
  const Messages messages = MessagesOf(SmallRequest(), 16);
  for (size_t sent = 0; sent <= messages.size(); ++sent) {
    TestUpload upload(server_.server().InProcessChannel());
    for (size_t i = 0; i < sent; ++i) ASSERT_TRUE(upload.Send(messages[i]));
    upload.Cancel();
    EXPECT_EQ(upload.Wait().error_code(), Code::CANCELLED);
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

// A change of the messages of SmallRequest in chunks of 8 bytes, and what is
// said of it.
struct Fault {
  const char* what;
  std::function<void(Messages&)> plant;
  const char* field;
  const char* text;
};

// A message that is no chunk's.
v1::UploadWeightsRequest Sha256Message(const std::string& sha256) {
  v1::UploadWeightsRequest message;
  message.set_sha256(sha256);
  return message;
}

std::vector<Fault> Faults() {
  const auto chunk = [](Messages& messages, size_t i) -> v1::TensorChunk& {
    return *messages[i].mutable_chunk();
  };
  return {
      {"duplicate", [](auto& m) { m.insert(m.begin() + 2, m[1]); },
       "chunk.offset", "is 0; expected 8"},
      {"missing", [](auto& m) { m.erase(m.begin() + 2); }, "chunk.offset",
       "is 16; expected 8"},
      {"out of order", [](auto& m) { std::swap(m[1], m[2]); }, "chunk.offset",
       "is 8; expected 0"},
      {"overlapping", [&](auto& m) { chunk(m, 2).set_offset(4); },
       "chunk.offset", "is 4; expected 8"},
      {"negative", [&](auto& m) { chunk(m, 2).set_offset(-8); }, "chunk.offset",
       "is -8; expected 8"},
      {"of another tensor",
       [&](auto& m) { chunk(m, 2).set_tensor("key.bias"); }, "chunk.tensor",
       R"(is "key.bias" but 8 of 96 bytes of "query.weight")"},
      {"of an unknown tensor", [&](auto& m) { chunk(m, 1).set_tensor("x"); },
       "chunk.tensor", "is \"x\""},
      {"beyond the tensor",
       [&](auto& m) { chunk(m, 12).set_data(std::string(12, '\0')); },
       "chunk.data", "has 12 bytes from byte 88 on, but \"query.weight\" has"},
      {"beyond the last tensor",
       [](auto& m) { m.insert(m.end() - 1, m[m.size() - 2]); }, "chunk.tensor",
       "all "},
      {"empty", [&](auto& m) { chunk(m, 1).clear_data(); }, "chunk.data",
       "has 0 bytes; expected one or more elements of 4"},
      {"half an element", [&](auto& m) { chunk(m, 1).set_data("123456"); },
       "chunk.data", "has 6 bytes"},
      {"larger than a chunk",
       [&](auto& m) {
         chunk(m, 1).set_data(std::string((size_t{1} << 20) + 4, '\0'));
       },
       "chunk.data", "has 1048580 bytes; expected at most 1048576"},
      {"before the header", [](auto& m) { m.erase(m.begin()); }, "header",
       "is required"},
      {"second header", [](auto& m) { m.insert(m.begin() + 3, m[0]); },
       "header", "twice"},
      {"after the checksum", [](auto& m) { m.push_back(m[1]); }, "chunk",
       "after sha256"},
      {"two checksums", [](auto& m) { m.push_back(m.back()); }, "sha256",
       "twice"},
      {"checksum first", [](auto& m) { m.insert(m.begin(), m.back()); },
       "sha256", "before the header"},
      {"checksum too early", [](auto& m) { m.insert(m.begin() + 3, m.back()); },
       "sha256", "came after 16 of"},
      {"no checksum",
       [](auto& m) { m.back() = Sha256Message(std::string(64, 'A')); },
       "sha256", "64 lower-case hexadecimal digits"},
      {"short checksum",
       [](auto& m) { m.back() = Sha256Message(std::string(63, 'a')); },
       "sha256", "64 lower-case hexadecimal digits"},
      {"empty message", [](auto& m) { m[1].Clear(); }, "part", "is not set"},
      {"NaN in the second chunk",
       [&](auto& m) {
         const float nan = std::numeric_limits<float>::quiet_NaN();
         chunk(m, 2).mutable_data()->replace(
             4, 4, reinterpret_cast<const char*>(&nan), 4);
       },
       "weights.query.weight.data", "at index [0, 3] is NaN"},
  };
}

TEST_F(ServiceUploadRefusals, MessagesOutOfPlaceAreRefusedAndLeaveNothing) {
  const Messages messages = MessagesOf(SmallRequest());
  for (const Fault& fault : Faults()) {
    Messages damaged = messages;
    fault.plant(damaged);
    const Refusal refusal = Refused(damaged);
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT)
        << fault.what << ": " << refusal;
    EXPECT_EQ(refusal.field, fault.field) << fault.what << ": " << refusal;
    EXPECT_THAT(refusal.description, HasSubstr(fault.text)) << fault.what;
  }
  ExpectNothingLeft();
  EXPECT_EQ(Upload(messages).version(), 1);
}

TEST_F(ServiceUploadRefusals, OtherBytesThanTheChecksumSaysAreDataLoss) {
  const Messages messages = MessagesOf(SmallRequest());
  for (size_t i = 1; i + 1 < messages.size(); i += 5) {
    Messages damaged = messages;
    damaged[i].mutable_chunk()->mutable_data()->front() ^= 1;
    const Refusal refusal = Refused(damaged);
    EXPECT_EQ(refusal.code, Code::DATA_LOSS) << refusal;
    EXPECT_EQ(refusal.field, "sha256");
    EXPECT_THAT(refusal.description, HasSubstr(messages.back().sha256()));
  }
  // Heads are a part of what it is taken over.
  Messages damaged = messages;
  damaged[0].mutable_header()->mutable_weights()->set_num_heads(1);
  EXPECT_EQ(Refused(damaged).code, Code::DATA_LOSS);
  ExpectNothingLeft();
}

TEST_F(ServiceUploadRefusals, HeaderIsRefusedBeforeAnyChunkIsSent) {
  using Header = v1::UploadWeightsRequest::Header;
  const struct {
    std::function<void(Header&)> change;
    const char* field;
  } faults[] = {
      {[](Header& h) { h.clear_name(); }, "name"},
      {[](Header& h) { h.clear_weights(); }, "weights"},
      {[](Header& h) { h.add_labels("9"); }, "labels[0]"},
      {[](Header& h) { h.set_expected_version(-1); }, "expected_version"},
      {[](Header& h) { h.set_idempotency_key(std::string(129, 'k')); },
       "idempotency_key"},
      {[](Header& h) { (*h.mutable_annotations())[""] = "x"; }, "annotations"},
      {[](Header& h) { h.mutable_weights()->clear_layout(); },
       "weights.layout"},
      {[](Header& h) { h.mutable_weights()->set_num_heads(0); },
       "weights.num_heads"},
      {[](Header& h) { h.mutable_weights()->clear_value(); }, "weights.value"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_data("1234");
       },
       "weights.key.weight.data"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_bias()->add_values(1);
       },
       "weights.key.bias.values"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_dtype(
             v1::DATA_TYPE_BOOL);
       },
       "weights.key.weight.dtype"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_dtype(
             v1::DATA_TYPE_FLOAT64);
       },
       "weights.key.weight.dtype"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(1, 7);
       },
       "weights.key.bias.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(
             0, int64_t{1} << 40);
       },
       "weights.key.weight.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->set_shape(0, -1);
       },
       "weights.key.weight.shape[0]"},
      {[](Header& h) {
         h.mutable_weights()->mutable_key()->mutable_weight()->add_shape(1);
       },
       "weights.key.weight.shape"},
  };
  const v1::UploadWeightsRequest header = MessagesOf(SmallRequest()).front();
  for (const auto& fault : faults) {
    v1::UploadWeightsRequest damaged = header;
    fault.change(*damaged.mutable_header());
    TestUpload upload(server_.server().InProcessChannel());
    upload.Send(damaged);
    const Refusal refusal(upload.Wait());
    EXPECT_EQ(refusal.code, Code::INVALID_ARGUMENT) << refusal;
    EXPECT_EQ(refusal.field, fault.field) << refusal;
  }
  ExpectNothingLeft();
}

}  // namespace
}  // namespace attention
