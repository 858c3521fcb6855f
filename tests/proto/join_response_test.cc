#include "proto/join_response.h"

#include <string>

#include "gtest/gtest.h"

namespace attention {
namespace {

using Response = v1::ComputeAttentionResponse;

// The bytes of `whole`, made by taking the data out of its tensors first.
std::string Joined(const Response& whole) {
  Response message = whole;
  PerResult<std::string> data;
  const auto take_out = [](bool has, auto tensor, std::string& bytes) {
    if (has) bytes = std::move(*tensor()->mutable_data());
    if (has) tensor()->clear_data();
  };
  take_out(
      message.has_output(), [&] { return message.mutable_output(); },
      data.output);
  take_out(
      message.has_attention_matrix(),
      [&] { return message.mutable_attention_matrix(); },
      data.attention_matrix);
  take_out(
      message.has_top_k() && message.top_k().has_weights(),
      [&] { return message.mutable_top_k()->mutable_weights(); },
      data.top_k_weights);
  take_out(
      message.has_lse(), [&] { return message.mutable_lse(); }, data.lse);

  TextWithGaps joined;
  JoinResponse(
      message,
      {data.output, data.attention_matrix, data.top_k_weights, data.lse},
      joined);
  std::string bytes;
  size_t text = 0;
  for (const TextWithGaps::Gap& gap : joined.gaps) {
    bytes += joined.text.substr(text, gap.at - text);
    bytes.append(gap.data.data(), gap.data.size());
    text = gap.at;
  }
  bytes += joined.text.substr(text);
  EXPECT_EQ(bytes.size(), joined.size());
  return bytes;
}

// Sets every field of `message`, at any depth, to something that is not its
// default; repeated ones get two elements.
void Fill(google::protobuf::Message& message, size_t bytes) {
  const auto* const descriptor = message.GetDescriptor();
  const auto* const reflection = message.GetReflection();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* const field = descriptor->field(i);
    using Field = google::protobuf::FieldDescriptor;
    for (int repeat = 0; repeat < (field->is_repeated() ? 2 : 1); ++repeat) {
      switch (field->cpp_type()) {
        case Field::CPPTYPE_MESSAGE:
          Fill(*reflection->MutableMessage(&message, field), bytes);
          break;
        case Field::CPPTYPE_STRING:
          reflection->SetString(&message, field, std::string(bytes, 'x'));
          break;
        case Field::CPPTYPE_INT32:
          if (field->is_repeated()) {
            reflection->AddInt32(&message, field, -70'000);
          } else {
            reflection->SetInt32(&message, field, 70'000);
          }
          break;
        case Field::CPPTYPE_INT64:
          if (field->is_repeated()) {
            reflection->AddInt64(&message, field, int64_t{1} << 40U);
          } else {
            reflection->SetInt64(&message, field, int64_t{1} << 40U);
          }
          break;
        case Field::CPPTYPE_DOUBLE:
          // Tensor.values, which are never there beside data.
          break;
        case Field::CPPTYPE_ENUM:
          reflection->SetEnumValue(&message, field, 1);
          break;
        default:
          FAIL() << "a field of a kind that Fill does not know: "
                 << field->full_name();
      }
    }
  }
}

TEST(JoinResponse, EveryFieldIsWrittenAsProtobufDoes) {
  // Sizes around where the size of a varint changes, at each level.
  for (const size_t bytes : {1, 80, 100, 117, 118, 127, 128, 16'300, 16'384}) {
    Response whole;
    Fill(whole, bytes);
    EXPECT_EQ(Joined(whole), whole.SerializeAsString()) << bytes;
  }
}

TEST(JoinResponse, WhatIsAbsentOrEmptyIsNotWritten) {
  EXPECT_EQ(Joined({}), "");
  Response empty;
  empty.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  empty.mutable_output()->add_shape(0);
  empty.mutable_lse();
  empty.mutable_top_k();
  EXPECT_EQ(Joined(empty), empty.SerializeAsString());
}

TEST(JoinResponse, ValuesStayInTheMessage) {
  Response values;
  values.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  values.mutable_output()->add_shape(2);
  values.mutable_output()->add_values(0.5);
  values.mutable_output()->add_values(-0.0);
  EXPECT_EQ(Joined(values), values.SerializeAsString());
}

TEST(JoinResponse, DataIsNotCopied) {
  Response message;
  message.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  const std::string data(1000, 'x');
  TextWithGaps joined;
  JoinResponse(message, {data, {}, {}, {}}, joined);
  ASSERT_EQ(joined.gaps.size(), 1U);
  EXPECT_EQ(joined.gaps[0].data.data(), data.data());
  EXPECT_LT(joined.text.size(), 20U);
}

}  // namespace
}  // namespace attention
