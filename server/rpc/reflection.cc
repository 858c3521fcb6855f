#include "server/rpc/reflection.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <atomic>
#include <cassert>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "proto/error_text.h"
#include "server/rpc/door/message.h"
#include "server/rpc/door/serve.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1::ServerReflectionRequest;
using grpc::reflection::v1::ServerReflectionResponse;
using Stream = grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>;

// What can be told. protobuf's own pool of descriptors is not asked for names
// that a client chose: it remembers for ever each that it does not have.
class Index {
 public:
  explicit Index(const std::vector<std::string>& services)
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

  ServerReflectionResponse Answer(
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
        TellFile(symbols_, "symbol", request.file_containing_symbol(),
                 response);
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

 private:
  using Files = std::map<std::string, const FileDescriptor*>;

  void AddFile(const FileDescriptor& file) {
    if (!files_.emplace(file.name(), &file).second) return;
    for (int i = 0; i < file.dependency_count(); ++i) {
      AddFile(*file.dependency(i));
    }
    for (int i = 0; i < file.message_type_count(); ++i) {
      AddMessage(*file.message_type(i));
    }
    for (int i = 0; i < file.enum_type_count(); ++i) {
      AddEnum(*file.enum_type(i));
    }
    for (int i = 0; i < file.service_count(); ++i) {
      const auto& service = *file.service(i);
      symbols_.emplace(service.full_name(), &file);
      for (int j = 0; j < service.method_count(); ++j) {
        symbols_.emplace(service.method(j)->full_name(), &file);
      }
    }
  }

  void AddMessage(const Descriptor& message) {
    symbols_.emplace(message.full_name(), message.file());
    messages_.insert(message.full_name());
    for (int i = 0; i < message.field_count(); ++i) {
      symbols_.emplace(message.field(i)->full_name(), message.file());
    }
    for (int i = 0; i < message.oneof_decl_count(); ++i) {
      symbols_.emplace(message.oneof_decl(i)->full_name(), message.file());
    }
    for (int i = 0; i < message.nested_type_count(); ++i) {
      AddMessage(*message.nested_type(i));
    }
    for (int i = 0; i < message.enum_type_count(); ++i) {
      AddEnum(*message.enum_type(i));
    }
  }

  void AddEnum(const EnumDescriptor& type) {
    symbols_.emplace(type.full_name(), type.file());
    for (int i = 0; i < type.value_count(); ++i) {
      symbols_.emplace(type.value(i)->full_name(), type.file());
    }
  }

  static void Refuse(absl::StatusCode code, const std::string& text,
                     ServerReflectionResponse& response) {
    auto& error = *response.mutable_error_response();
    error.set_error_code(static_cast<int32_t>(code));
    error.set_error_message(text);
  }

  static void TellFile(const Files& among, const char* kind,
                       const std::string& name,
                       ServerReflectionResponse& response) {
    const auto found = among.find(name);
    if (found == among.end()) {
      return Refuse(absl::StatusCode::kNotFound,
                    absl::StrCat("no ", kind, " ", Quoted(name)), response);
    }
    std::set<const FileDescriptor*> told;
    Tell(*found->second, told, response);
  }

  // A file, and then what it imports.
  static void Tell(const FileDescriptor& file,
                   std::set<const FileDescriptor*>& told,
                   ServerReflectionResponse& response) {
    if (!told.insert(&file).second) return;
    google::protobuf::FileDescriptorProto described;
    file.CopyTo(&described);
    response.mutable_file_descriptor_response()->add_file_descriptor_proto(
        described.SerializeAsString());
    for (int i = 0; i < file.dependency_count(); ++i) {
      Tell(*file.dependency(i), told, response);
    }
  }

  const std::vector<std::string> services_;
  Files files_;
  Files symbols_;
  std::set<std::string> messages_;
};

// Reads a request, answers it, reads the next.
class ReflectionStream final : public Stream {
 public:
  // `done` is called last.
  ReflectionStream(const Index& index, std::shared_ptr<Arrival> arrival,
                   std::function<void()> done)
      : index_(index), arrival_(std::move(arrival)), done_(std::move(done)) {}

  void Start() { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    // Also after a cancellation, when nobody reads the status any more.
    if (!ok) return Finish(grpc::Status::OK);
    if (arrival_ != nullptr) {
      arrival_->OnMessage(static_cast<int64_t>(request_.Length()));
    }
    ServerReflectionRequest message;
    const absl::Status status =
        ReadShort(request_, "ServerReflectionInfo", message);
    if (!status.ok()) return Finish(ToGrpcStatus(status));
    response_ = SerializeMessage(index_.Answer(message));
    StartWrite(&response_);
  }

  void OnWriteDone(bool ok) override {
    if (ok) return StartRead(&request_);
    Finish(ToGrpcStatus(absl::CancelledError("cancelled by the caller")));
  }

  void OnDone() override {
    // Whatever else was sent, nobody has read it.
    if (arrival_ != nullptr) arrival_->OnBroken();
    done_();
    delete this;
  }

 private:
  const Index& index_;
  const std::shared_ptr<Arrival> arrival_;
  const std::function<void()> done_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
};

// The streams of both services.
class Streams {
 public:
  Streams(const std::vector<std::string>& services, int32_t max_streams,
          const Arrivals& arrivals)
      : index_(services), max_streams_(max_streams), arrivals_(arrivals) {}

  Stream* Open(const grpc::CallbackServerContext& context) {
    // gRPC calls no reaction before this function has returned.
    auto* const stream = new ReflectionStream(
        index_, ArrivalOf(context, arrivals_, /*request=*/nullptr),
        [this] { --open_; });
    if (++open_ > max_streams_) {
      stream->Finish(ToGrpcStatus(
          Busy(absl::StrCat(max_streams_, " streams of reflection are open"),
               "--max-open-streams")));
    } else {
      stream->Start();
    }
    return stream;
  }

 private:
  const Index index_;
  const int32_t max_streams_;
  const Arrivals& arrivals_;
  std::atomic<int32_t> open_{0};
};

// `Contract` is ServerReflection of either package.
template <typename Contract>
class ReflectionService final
    : public Contract::template WithRawCallbackMethod_ServerReflectionInfo<
          typename Contract::Service> {
 public:
  explicit ReflectionService(Streams& streams) : streams_(streams) {}

  Stream* ServerReflectionInfo(grpc::CallbackServerContext* context) override {
    return streams_.Open(*context);
  }

 private:
  Streams& streams_;
};

}  // namespace

class Reflection::Impl {
 public:
  Impl(const std::vector<std::string>& services, int32_t max_streams,
       const Arrivals& arrivals)
      : streams_(services, max_streams, arrivals) {}

  Streams streams_;
  ReflectionService<grpc::reflection::v1::ServerReflection> service_{streams_};
  ReflectionService<grpc::reflection::v1alpha::ServerReflection> alpha_service_{
      streams_};
};

Reflection::Reflection(const std::vector<std::string>& services,
                       int32_t max_streams, const Arrivals& arrivals)
    : impl_(std::make_unique<Impl>(services, max_streams, arrivals)) {}
Reflection::~Reflection() = default;

grpc::Service& Reflection::service() { return impl_->service_; }
grpc::Service& Reflection::alpha_service() { return impl_->alpha_service_; }

}  // namespace attention::rpc
