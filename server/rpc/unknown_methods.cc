#include "server/rpc/unknown_methods.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "proto/error_text.h"
#include "server/rpc/door/serve.h"

namespace attention::rpc {
namespace {

class Refusal final : public grpc::ServerGenericBidiReactor {
 public:
  void Hold(Held held) { held_ = std::move(held); }
  void OnDone() override {
    // Whatever was sent for it, nobody has read it.
    if (held_.arrival != nullptr) held_.arrival->OnBroken();
    delete this;
  }

 private:
  Held held_;
};

class UnknownMethods final : public grpc::CallbackGenericService {
 public:
  UnknownMethods(std::vector<std::string> services, const Door& door)
      : services_(std::move(services)), door_(door) {}

  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    auto* const reactor = new Refusal;
    const auto answer = [reactor](grpc::Status status) {
      reactor->Finish(std::move(status));
    };
    try {
      reactor->Hold(Admit(
          *context, door_, "unknown", /*request=*/nullptr, answer,
          [&](const std::shared_ptr<Call>& call) {
            call->Finish(absl::UnimplementedError(TextFor(context->method())));
          }));
    } catch (const std::bad_alloc&) {
      // Thrown before there was a call, so nobody else answers.
      reactor->Finish({grpc::StatusCode::UNIMPLEMENTED, ""});
    }
    return reactor;
  }

 private:
  // `method` is "/package.Service/Method", or whatever a client sent.
  std::string TextFor(const std::string& method) const {
    const absl::string_view path = absl::StripPrefix(method, "/");
    const std::string service(path.substr(0, path.find('/')));
    if (std::find(services_.begin(), services_.end(), service) ==
        services_.end()) {
      return absl::StrCat("no method ", Quoted(method),
                          "; this server has the services ",
                          absl::StrJoin(services_, ", "));
    }
    const auto& descriptor =
        *google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
            service);
    std::vector<std::string> methods;
    methods.reserve(static_cast<size_t>(descriptor.method_count()));
    for (int i = 0; i < descriptor.method_count(); ++i) {
      methods.push_back(descriptor.method(i)->name());
    }
    return absl::StrCat("no method ", Quoted(method), "; ", service, " has ",
                        absl::StrJoin(methods, ", "));
  }

  const std::vector<std::string> services_;
  const Door door_;
};

}  // namespace

std::unique_ptr<grpc::CallbackGenericService> NewUnknownMethods(
    std::vector<std::string> services, const Door& door) {
  return std::make_unique<UnknownMethods>(std::move(services), door);
}

}  // namespace attention::rpc
