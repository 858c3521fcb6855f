// One request on its way through the server.
#ifndef SERVER_RPC_DOOR_CALL_H_
#define SERVER_RPC_DOOR_CALL_H_

#include <google/protobuf/message.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "server/core/pool/compute_pool.h"
#include "server/rpc/door/admission.h"

namespace attention::rpc {

// From the door (server/rpc/door/serve.h) to the answer. Every handler gets a
// shared_ptr<Call> and answers by Finish, at once or later from any thread.
// Whoever drops the last reference without an answer has made a mistake; the
// call is then answered INTERNAL, so that none can hang. Thread-safe but for
// the setters, which are called before Finish.
class Call {
 public:
  using Clock = std::chrono::steady_clock;

  // Of refusals in one second; of a million nobody reads more than the first.
  // An attack of a day is then one GiB of log.
  static constexpr int64_t kLinesPerSecond = 50;

  // Tells how many refusals have been left out since a line said so: at the
  // end of the process.
  static void LogLeftOut();

  // Text is made only where it is told; asked for until Finish.
  struct Facts {
    const char* method = "";
    std::function<std::string()> id;
    std::function<std::string()> peer;  // who called
    int64_t request_bytes = 0;
    // Tells the client the id, before a refusal; may be empty.
    std::function<void(const std::string& id)> tell_id = nullptr;
  };

  // `answer` hands the status to gRPC; after it the place of the reply, if
  // there is one, may be gone.
  Call(Facts facts, std::shared_ptr<core::Cancellation> cancellation,
       std::function<void(grpc::Status)> answer);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Until Finish.
  std::string id() const { return facts_.id(); }
  std::string peer() const { return facts_.peer(); }
  Clock::time_point received() const { return received_; }
  const std::shared_ptr<core::Cancellation>& cancellation() const {
    return cancellation_;
  }

  void set_ticket(std::shared_ptr<Admission::Ticket> ticket) {
    ticket_ = std::move(ticket);
  }
  // Finish writes `reply` to `out` if the answer is OK.
  void set_reply(std::shared_ptr<const google::protobuf::Message> reply,
                 grpc::ByteBuffer* out) {
    reply_ = std::move(reply);
    out_ = out;
  }
  // Takes bytes beyond the message out of the server's ledger. REQUIRES: there
  // is a ticket.
  absl::Status TakeBytes(std::initializer_list<Admission::Amount> amounts) {
    return ticket_->Take(amounts);
  }
  // Gives bytes of the message back early. REQUIRES: as TakeBytes; before
  // Finish.
  void ReturnMessage(int64_t bytes) {
    ticket_->Return({memory::Kind::kMessages, bytes});
  }

  // What the log line tells beyond the totals.
  void set_timing(Clock::duration queue, Clock::duration compute);
  void add_request_bytes(int64_t bytes) { request_bytes_ += bytes; }
  void add_reply_bytes(int64_t bytes) { reply_bytes_ += bytes; }

  // Answers; only the first answer counts. Writes the log line: at level debug
  // for OK, error for INTERNAL and UNKNOWN, info for any other refusal, of each
  // of which there are kLinesPerSecond at most, with the count of those left
  // out. An INTERNAL or UNKNOWN status is logged whole, the client gets the
  // request id instead.
  void Finish(const absl::Status& status);

  // Runs `body`; an exception of it is the answer: std::bad_alloc
  // RESOURCE_EXHAUSTED, anything else INTERNAL.
  void Guard(absl::FunctionRef<void()> body);

 private:
  void Log(const absl::Status& status) const;
  // What the client is told of a mistake of ours.
  absl::Status Concealed() const;
  absl::Status WriteReply();

  const Facts facts_;
  const Clock::time_point received_ = Clock::now();
  const std::shared_ptr<core::Cancellation> cancellation_;
  const std::function<void(grpc::Status)> answer_;
  std::shared_ptr<const google::protobuf::Message> reply_;
  grpc::ByteBuffer* out_ = nullptr;
  std::shared_ptr<Admission::Ticket> ticket_;
  Clock::duration queue_{};
  Clock::duration compute_{};
  int64_t request_bytes_ = 0;  // beyond those of the first message
  int64_t reply_bytes_ = 0;
  std::atomic<bool> finished_{false};
};

// RESOURCE_EXHAUSTED, because an allocation failed; may fit later.
absl::Status OutOfMemory();

// A status from a pool, with what a caller should know of it: memory that a
// task could not have is OutOfMemory.
absl::Status FromPool(const absl::Status& status);

}  // namespace attention::rpc

#endif  // SERVER_RPC_DOOR_CALL_H_
