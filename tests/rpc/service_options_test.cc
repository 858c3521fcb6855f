// Each option of a request reaches the computation as itself: the reply is what
// the core computes with that option, bit for bit, and not what it computes
// without.
#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/core/attention_call.h"
#include "tests/support/service_fixture.h"

namespace attention {
namespace {

using core::AttentionOptions;
using core::Owned;
using v1::ComputeAttentionRequest;

struct Option {
  std::string name;
  std::function<void(ComputeAttentionRequest&)> ask;
  std::function<void(AttentionOptions&)> set;
};

// How a test with this parameter is listed.
void PrintTo(const Option& option, std::ostream* out) { *out << option.name; }

// batch 2, 2 heads, 3 queries, 5 keys.
core::AttentionCall<float> PlainCall() {
  return core::AttentionCall<float>::Random({2, 2, 3, 4}, 2, 5, 3);
}

v1::Tensor ToProto(const Owned<float>& tensor) {
  return TensorOf(
      v1::DATA_TYPE_FLOAT32, {tensor.shape.begin(), tensor.shape.end()},
      std::vector<double>(tensor.elements.begin(), tensor.elements.end()));
}

std::vector<double> Doubles(const Owned<float>& tensor) {
  return {tensor.elements.begin(), tensor.elements.end()};
}

const std::vector<Option>& Options() {
  static const auto* const options = new std::vector<Option>{
      {"causal_top_left",
       [](auto& r) {
         r.set_causal(true);
         r.set_alignment(v1::ALIGNMENT_TOP_LEFT);
       },
       [](auto& o) {
         o.causal = true;
         o.alignment = core::Alignment::kTopLeft;
       }},
      {"causal_bottom_right",
       [](auto& r) {
         r.set_causal(true);
         r.set_alignment(v1::ALIGNMENT_BOTTOM_RIGHT);
       },
       [](auto& o) {
         o.causal = true;
         o.alignment = core::Alignment::kBottomRight;
       }},
      {"causal_query_offsets",
       [](auto& r) {
         r.set_causal(true);
         r.add_query_offsets(-1);
         r.add_query_offsets(3);
       },
       [](auto& o) {
         o.causal = true;
         o.query_offsets = {-1, 3};
       }},
      {"window_left",
       [](auto& r) {
         r.set_window_left(0);
         r.set_alignment(v1::ALIGNMENT_TOP_LEFT);
       },
       [](auto& o) {
         o.window_left = 0;
         o.alignment = core::Alignment::kTopLeft;
       }},
      {"window_right",
       [](auto& r) {
         r.set_window_right(1);
         r.set_alignment(v1::ALIGNMENT_TOP_LEFT);
       },
       [](auto& o) {
         o.window_right = 1;
         o.alignment = core::Alignment::kTopLeft;
       }},
      {"key_lengths",
       [](auto& r) {
         r.add_key_lengths(4);
         r.add_key_lengths(2);
       },
       [](auto& o) {
         o.key_lengths = {4, 2};
       }},
      {"softmax_scale", [](auto& r) { r.set_softmax_scale(0.125); },
       [](auto& o) { o.softmax_scale = 0.125; }},
      {"softmax_scale_of_zero", [](auto& r) { r.set_softmax_scale(0); },
       [](auto& o) { o.softmax_scale = 0; }},
      {"softcap", [](auto& r) { r.set_softcap(0.5); },
       [](auto& o) { o.softcap = 0.5; }},
      {"dropout",
       [](auto& r) {
         r.mutable_dropout()->set_probability(0.25);
         r.mutable_dropout()->set_seed((uint64_t{1} << 63) + 5);
       },
       [](auto& o) {
         o.dropout = core::Dropout{0.25, (uint64_t{1} << 63) + 5};
       }}};
  return *options;
}

class ServiceOptionsTest : public ::testing::TestWithParam<Option> {};

TEST_P(ServiceOptionsTest, IsTheCoresAndChangesTheAnswer) {
  core::AttentionCall<float> with = PlainCall();
  core::AttentionCall<float> without = PlainCall();
  GetParam().set(with.options);
  ASSERT_TRUE(with.Compute().ok());
  ASSERT_TRUE(without.Compute().ok());

  ComputeAttentionRequest request;
  *request.mutable_query() = ToProto(with.query);
  *request.mutable_key() = ToProto(with.key);
  *request.mutable_value() = ToProto(with.value);
  request.set_num_heads(2);
  request.set_want_lse(true);
  request.mutable_attention_matrix()->set_stage(
      v1::AttentionMatrixOptions::STAGE_ATTENTION_WEIGHTS);
  GetParam().ask(request);
  TestServer server;
  v1::ComputeAttentionResponse reply;
  const grpc::Status status = server.client().Compute(request, &reply);
  ASSERT_TRUE(status.ok()) << Refusal(status);

  EXPECT_EQ(Elements(reply.output()), Doubles(with.output));
  EXPECT_EQ(Elements(reply.attention_matrix()), Doubles(with.matrix));
  EXPECT_EQ(Elements(reply.lse()), Doubles(with.lse));
  EXPECT_NE(Elements(reply.output()), Doubles(without.output));
}

INSTANTIATE_TEST_SUITE_P(All, ServiceOptionsTest,
                         ::testing::ValuesIn(Options()),
                         [](const auto& option) { return option.param.name; });

}  // namespace
}  // namespace attention
