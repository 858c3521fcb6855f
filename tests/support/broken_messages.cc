#include "tests/support/broken_messages.h"

#include <google/rpc/error_details.pb.h>

#include "attention/v1/attention.pb.h"
#include "grpc/health/v1/health.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "proto/wire.h"

namespace attention {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

std::string TagOf(int field, uint32_t type) {
  std::string bytes;
  wire::AppendVarint(static_cast<uint32_t>(field) << 3U | type, bytes);
  return bytes;
}

std::string Sized(const std::string& body) {
  std::string bytes;
  wire::AppendVarint(body.size(), bytes);
  return bytes + body;
}

uint32_t WireTypeOf(const FieldDescriptor& field) {
  switch (field.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
      return wire::kFixed64;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES:
    case FieldDescriptor::TYPE_MESSAGE:
      return wire::kLengthDelimited;
    default:
      return wire::kVarint;
  }
}

namespace {

// What may stand behind a tag of each wire type.
std::string BodyOf(uint32_t type) {
  switch (type) {
    case wire::kVarint:
      return "\x01";
    case wire::kFixed64:
      return "12345678";
    case wire::kLengthDelimited:
      return Sized("x");
    case wire::kFixed32:
      return "1234";
    default:
      return "";
  }
}

// Bytes in place of one field, none of which can be parsed.
std::vector<std::string> BrokenFields(const FieldDescriptor& field) {
  const uint32_t type = WireTypeOf(field);
  const std::string tag = TagOf(field.number(), type);
  std::vector<std::string> broken;
  for (uint32_t other = 0; other < 8; ++other) {
    const bool packed = field.is_packable() && other == wire::kLengthDelimited;
    if (other == type || packed) continue;
    broken.push_back(TagOf(field.number(), other) + BodyOf(other));
  }
  broken.push_back(tag);                                   // nothing behind it
  broken.push_back(tag + std::string(11, '\x80'));         // too long a varint
  broken.push_back(tag + std::string("\xFF\xFF\xFF", 3));  // cut
  if (type == wire::kFixed64) broken.push_back(tag + "1234567");
  if (type == wire::kLengthDelimited) {
    broken.push_back(tag + "\x7F" + "short");
    broken.push_back(tag + "\xFF\xFF\xFF\xFF\x0F");
  }
  if (field.type() == FieldDescriptor::TYPE_STRING) {
    broken.push_back(tag + Sized("\xC3\x28"));
  }
  if (field.is_packable()) {
    broken.push_back(TagOf(field.number(), wire::kLengthDelimited) +
                     Sized("\x80"));
  }
  return broken;
}

}  // namespace

std::vector<Method> AllMethods() {
  std::vector<Method> methods;
  const auto add = [&](const google::protobuf::ServiceDescriptor& service,
                       const std::string& name) {
    for (int i = 0; i < service.method_count(); ++i) {
      const auto& method = *service.method(i);
      methods.push_back({"/" + name + "/" + method.name(), method.input_type(),
                         !method.client_streaming()});
    }
  };
  const auto& attention = *v1::Tensor::descriptor()->file()->service(0);
  add(attention, attention.full_name());
  const auto& health =
      *grpc::health::v1::HealthCheckRequest::descriptor()->file()->service(0);
  add(health, health.full_name());
  const auto& reflection =
      *grpc::reflection::v1::ServerReflectionRequest::descriptor()
           ->file()
           ->service(0);
  add(reflection, reflection.full_name());
  add(reflection, "grpc.reflection.v1alpha.ServerReflection");
  return methods;
}

std::vector<std::string> BrokenMessages(const Descriptor& message) {
  std::vector<std::string> broken = {"\xFF",
                                     std::string("\0\0", 2),
                                     TagOf(1000, wire::kGroupStart),
                                     TagOf(1000, wire::kGroupEnd),
                                     TagOf(1000, 6),
                                     TagOf(1000, 2) + "\x7F"};
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& field = *message.field(i);
    const std::vector<std::string> of_field = BrokenFields(field);
    broken.insert(broken.end(), of_field.begin(), of_field.end());
    if (field.type() != FieldDescriptor::TYPE_MESSAGE) continue;
    for (const std::string& inside : BrokenMessages(*field.message_type())) {
      broken.push_back(TagOf(field.number(), wire::kLengthDelimited) +
                       Sized(inside));
    }
  }
  return broken;
}

google::rpc::Status StatusOf(const Method& method, const AnyAnswer& answer) {
  google::rpc::Status status;
  if (method.path.find("StreamAttention") != std::string::npos &&
      !answer.replies.empty()) {
    v1::StreamAttentionResponse response;
    if (response.ParseFromString(answer.replies.front())) {
      return response.error();
    }
  }
  status.ParseFromString(answer.status.error_details());
  status.set_code(answer.status.error_code());
  status.set_message(answer.status.error_message());
  return status;
}

std::string Fault(const google::rpc::Status& status) {
  switch (status.code()) {
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return "the code";
    default:
      break;
  }
  if (status.message().empty()) return "no words";
  int reasons = 0;
  for (const auto& any : status.details()) {
    google::rpc::ErrorInfo info;
    if (!any.UnpackTo(&info)) continue;
    ++reasons;
    v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
    if (!v1::ErrorReason_Parse("ERROR_REASON_" + info.reason(), &reason)) {
      return "the reason " + info.reason();
    }
  }
  if (reasons != 1) return "not one reason";
  return ReasonOf(status) == "INVALID_FIELD" && FieldOf(status).empty()
             ? "no field"
             : "";
}

std::string ReasonOf(const google::rpc::Status& status) {
  google::rpc::ErrorInfo info;
  for (const auto& any : status.details()) {
    if (any.UnpackTo(&info)) return info.reason();
  }
  return "";
}

std::string FieldOf(const google::rpc::Status& status) {
  google::rpc::BadRequest bad_request;
  for (const auto& any : status.details()) {
    if (any.UnpackTo(&bad_request)) {
      return bad_request.field_violations(0).field();
    }
  }
  return "";
}

}  // namespace attention
