#include "server/rpc/reflection_index.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"
#include "proto/error_text.h"

namespace attention::rpc {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;

namespace {

void Refuse(absl::StatusCode code, const std::string& text,
            ServerReflectionResponse& response) {
  auto& error = *response.mutable_error_response();
  error.set_error_code(static_cast<int32_t>(code));
  error.set_error_message(text);
}

// A file, and then what it imports: each before what it imports itself.
template <typename Names>
void TellFile(const Names& among, const char* kind, const std::string& name,
              ServerReflectionResponse& response) {
  const auto found = among.find(name);
  if (found == among.end()) {
    return Refuse(absl::StatusCode::kNotFound,
                  absl::StrCat("no ", kind, " ", Quoted(name)), response);
  }
  auto& told = *response.mutable_file_descriptor_response();
  told.add_file_descriptor_proto(found->second->serialized);
  const auto& imports = found->second->imports;
  for (auto file = imports.rbegin(); file != imports.rend(); ++file) {
    told.add_file_descriptor_proto((*file)->serialized);
  }
}

}  // namespace

ReflectionIndex::ReflectionIndex(const std::vector<std::string>& services)
    : services_(services) {
  // Else nothing here would refer to them, and the linker leave them out.
  grpc::reflection::v1alpha::ServerReflectionRequest::descriptor();
  const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
  for (const std::string& name : services) {
    const auto* const service = pool.FindServiceByName(name);
    assert(service != nullptr);
    AddFile(*service->file());
  }
}

const ReflectionIndex::File* ReflectionIndex::AddFile(
    const FileDescriptor& file) {
  const auto [place, is_new] = files_.emplace(file.name(), nullptr);
  if (!is_new) return place->second;
  File* const added = storage_.emplace_back(std::make_unique<File>()).get();
  place->second = added;
  google::protobuf::FileDescriptorProto described;
  file.CopyTo(&described);
  added->serialized = described.SerializeAsString();
  for (int i = 0; i < file.dependency_count(); ++i) {
    const File* const imported = AddFile(*file.dependency(i));
    for (const File* each : imported->imports) {
      if (!absl::c_linear_search(added->imports, each)) {
        added->imports.push_back(each);
      }
    }
    if (!absl::c_linear_search(added->imports, imported)) {
      added->imports.push_back(imported);
    }
  }
  auto bytes = static_cast<int64_t>(added->serialized.size());
  for (const File* each : added->imports) {
    bytes += static_cast<int64_t>(each->serialized.size());
  }
  largest_ = std::max(largest_, bytes);
  for (int i = 0; i < file.message_type_count(); ++i) {
    AddMessage(*file.message_type(i), added);
  }
  for (int i = 0; i < file.enum_type_count(); ++i) {
    AddEnum(*file.enum_type(i), added);
  }
  for (int i = 0; i < file.service_count(); ++i) {
    const auto& service = *file.service(i);
    symbols_.emplace(service.full_name(), added);
    for (int j = 0; j < service.method_count(); ++j) {
      symbols_.emplace(service.method(j)->full_name(), added);
    }
  }
  return added;
}

void ReflectionIndex::AddMessage(const Descriptor& message, const File* file) {
  symbols_.emplace(message.full_name(), file);
  messages_.insert(message.full_name());
  for (int i = 0; i < message.field_count(); ++i) {
    symbols_.emplace(message.field(i)->full_name(), file);
  }
  for (int i = 0; i < message.oneof_decl_count(); ++i) {
    symbols_.emplace(message.oneof_decl(i)->full_name(), file);
  }
  for (int i = 0; i < message.nested_type_count(); ++i) {
    AddMessage(*message.nested_type(i), file);
  }
  for (int i = 0; i < message.enum_type_count(); ++i) {
    AddEnum(*message.enum_type(i), file);
  }
}

void ReflectionIndex::AddEnum(const EnumDescriptor& type, const File* file) {
  symbols_.emplace(type.full_name(), file);
  for (int i = 0; i < type.value_count(); ++i) {
    symbols_.emplace(type.value(i)->full_name(), file);
  }
}

ServerReflectionResponse ReflectionIndex::Answer(
    const ServerReflectionRequest& request) const {
  using Request = ServerReflectionRequest;
  ServerReflectionResponse response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      TellFile(files_, "file", request.file_by_filename(), response);
      break;
    case Request::kFileContainingSymbol:
      TellFile(symbols_, "symbol", request.file_containing_symbol(), response);
      break;
    case Request::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      Refuse(absl::StatusCode::kNotFound,
             absl::StrCat("no extension ", asked.extension_number(), " of ",
                          Quoted(asked.containing_type())),
             response);
      break;
    }
    case Request::kAllExtensionNumbersOfType: {
      const std::string& type = request.all_extension_numbers_of_type();
      if (!messages_.contains(type)) {
        Refuse(absl::StatusCode::kNotFound,
               absl::StrCat("no message ", Quoted(type)), response);
        break;
      }
      // Messages of proto3 have none.
      response.mutable_all_extension_numbers_response()->set_base_type_name(
          type);
      break;
    }
    case Request::kListServices:
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(
            name);
      }
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      Refuse(absl::StatusCode::kInvalidArgument,
             "message_request is not set; expected one of its fields",
             response);
      break;
  }
  return response;
}

}  // namespace attention::rpc
