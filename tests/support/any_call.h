// A call of any method by name and bytes, whatever streams it has.
#ifndef TESTS_SUPPORT_ANY_CALL_H_
#define TESTS_SUPPORT_ANY_CALL_H_

#include <grpcpp/support/status.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grpc {
class Channel;
}  // namespace grpc

namespace attention {

// What came of it.
struct AnyAnswer {
  grpc::Status status;
  // The first replies, in order.
  std::vector<std::string> replies;
};

// Sends `messages`, ends its side, and reads `most` replies; then cancels if
// the call has not ended. DEADLINE_EXCEEDED after half a minute.
AnyAnswer CallAny(const std::shared_ptr<grpc::Channel>& channel,
                  const std::string& method,
                  const std::vector<std::string>& messages, size_t most = 1);

// A call that stays open. For one thread.
class OpenCall {
 public:
  OpenCall(const std::shared_ptr<grpc::Channel>& channel,
           const std::string& method);
  // Cancels if need be.
  ~OpenCall();
  OpenCall(const OpenCall&) = delete;
  OpenCall& operator=(const OpenCall&) = delete;

  bool Send(const std::string& message);
  void EndSending();
  // Nothing if the call has ended.
  std::optional<std::string> Receive();
  void Cancel();
  grpc::Status Finish();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace attention

#endif  // TESTS_SUPPORT_ANY_CALL_H_
