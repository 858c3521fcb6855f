#include "tests/support/any_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include <chrono>

namespace attention {

struct OpenCall::State {
  explicit State(const std::shared_ptr<grpc::Channel>& channel)
      : stub(channel) {}

  // Waits for the one operation that was started; whether it went well.
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub;
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call;
  bool finished = false;
};

OpenCall::OpenCall(const std::shared_ptr<grpc::Channel>& channel,
                   const std::string& method)
    : state_(std::make_unique<State>(channel)) {
  state_->context.set_deadline(std::chrono::system_clock::now() +
                               std::chrono::seconds(30));
  state_->call =
      state_->stub.PrepareCall(&state_->context, method, &state_->queue);
  state_->call->StartCall(nullptr);
  state_->Wait();
}

OpenCall::~OpenCall() {
  if (state_->finished) return;
  Cancel();
  Finish();
}

bool OpenCall::Send(const std::string& message) {
  const grpc::Slice slice(message);
  state_->call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
  return state_->Wait();
}

void OpenCall::EndSending() {
  state_->call->WritesDone(nullptr);
  state_->Wait();
}

std::optional<std::string> OpenCall::Receive() {
  grpc::ByteBuffer bytes;
  state_->call->Read(&bytes, nullptr);
  if (!state_->Wait()) return std::nullopt;
  grpc::Slice whole;
  if (!bytes.DumpToSingleSlice(&whole).ok()) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(whole.begin()),
                     whole.size());
}

void OpenCall::Cancel() { state_->context.TryCancel(); }

grpc::Status OpenCall::Finish() {
  grpc::Status status;
  state_->call->Finish(&status, nullptr);
  state_->Wait();
  state_->finished = true;
  return status;
}

AnyAnswer CallAny(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& method,
                  const std::vector<std::string>& messages, size_t most) {
  OpenCall call(channel, method);
  for (const std::string& message : messages) {
    if (!call.Send(message)) break;
  }
  call.EndSending();
  AnyAnswer answer;
  bool open = true;
  while (open && answer.replies.size() < most) {
    std::optional<std::string> reply = call.Receive();
    open = reply.has_value();
    if (open) answer.replies.push_back(*std::move(reply));
  }
  // A stream that would go on ends here, as far as this call is concerned.
  if (open && method.find("Watch") != std::string::npos) call.Cancel();
  answer.status = call.Finish();
  return answer;
}

}  // namespace attention
