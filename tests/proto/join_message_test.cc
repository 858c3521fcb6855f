#include "proto/join_message.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "attention/v1/attention.pb.h"
#include "gtest/gtest.h"

namespace attention {
namespace {

using Response = v1::ComputeAttentionResponse;

using PathAndData = std::pair<std::string, std::string>;

// Takes the data out of every tensor below `message`.
void TakeOut(google::protobuf::Message& message, const std::string& prefix,
             std::vector<PathAndData>& data) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const auto* const field : fields) {
    if (field->message_type() == nullptr || field->is_repeated()) continue;
    auto& below = *message.GetReflection()->MutableMessage(&message, field);
    const std::string path = prefix + field->name();
    if (auto* const tensor = dynamic_cast<v1::Tensor*>(&below)) {
      data.emplace_back(path, std::move(*tensor->mutable_data()));
      tensor->clear_data();
    } else {
      TakeOut(below, path + ".", data);
    }
  }
}

// The bytes of `whole`, made by taking the data out of its tensors first.
template <typename Message>
std::string Joined(const Message& whole) {
  Message message = whole;
  std::vector<PathAndData> taken;
  TakeOut(message, "", taken);
  std::vector<TensorData> data;
  data.reserve(taken.size());
  // In any order.
  std::reverse(taken.begin(), taken.end());
  for (const PathAndData& one : taken) data.push_back({one.first, one.second});
  const TextWithGaps joined =
      JoinMessage(message, TensorTableOf<Message>(), "", data);
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
        case Field::CPPTYPE_UINT64:
          reflection->SetUInt64(&message, field, uint64_t{1} << 63U);
          break;
        case Field::CPPTYPE_BOOL:
          reflection->SetBool(&message, field, true);
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

TEST(JoinMessage, EveryFieldIsWrittenAsProtobufDoes) {
  // Sizes around where the size of a varint changes, at each level.
  for (const size_t bytes : {1, 80, 100, 117, 118, 127, 128, 16'300, 16'384}) {
    Response whole;
    Fill(whole, bytes);
    EXPECT_EQ(Joined(whole), whole.SerializeAsString()) << bytes;
    v1::StreamAttentionResponse streamed;
    streamed.set_id(bytes);
    *streamed.mutable_response() = whole;
    EXPECT_EQ(Joined(streamed), streamed.SerializeAsString()) << bytes;
    v1::StreamAttentionRequest deeper;
    Fill(deeper, bytes);
    EXPECT_EQ(Joined(deeper), deeper.SerializeAsString()) << bytes;
  }
}

TEST(JoinMessage, WhatIsAbsentOrEmptyIsNotWritten) {
  EXPECT_EQ(Joined(Response()), "");
  Response empty;
  empty.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  empty.mutable_output()->add_shape(0);
  empty.mutable_lse();
  empty.mutable_top_k();
  EXPECT_EQ(Joined(empty), empty.SerializeAsString());
}

TEST(JoinMessage, PathsMayBeThoseOfAMessageInside) {
  v1::StreamAttentionResponse whole;
  whole.set_id(7);
  whole.mutable_response()->mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  const std::vector<TensorData> tensors = {{"output", "abcd"}};
  const TextWithGaps joined =
      JoinMessage(whole, TensorTableOf<v1::StreamAttentionResponse>(),
                  "response.", tensors);
  ASSERT_EQ(joined.gaps.size(), 1U);
  std::string bytes = joined.text;
  bytes.insert(joined.gaps[0].at, "abcd");
  whole.mutable_response()->mutable_output()->set_data("abcd");
  EXPECT_EQ(bytes, whole.SerializeAsString());
}

TEST(JoinMessage, ValuesStayInTheMessage) {
  Response values;
  values.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  values.mutable_output()->add_shape(2);
  values.mutable_output()->add_values(0.5);
  values.mutable_output()->add_values(-0.0);
  EXPECT_EQ(Joined(values), values.SerializeAsString());
}

TEST(JoinMessage, DataIsNotCopied) {
  Response message;
  message.mutable_output()->set_dtype(v1::DATA_TYPE_FLOAT32);
  const std::string data(1000, 'x');
  const std::vector<TensorData> tensors = {{"output", data}};
  const TextWithGaps joined =
      JoinMessage(message, TensorTableOf<Response>(), "", tensors);
  ASSERT_EQ(joined.gaps.size(), 1U);
  EXPECT_EQ(joined.gaps[0].data.data(), data.data());
  EXPECT_LT(joined.text.size(), 20U);
}

}  // namespace
}  // namespace attention
