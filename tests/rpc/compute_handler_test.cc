#include "server/rpc/compute/handler.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "server/weights/store.h"
#include "tests/support/service_fixture.h"

namespace attention::rpc {
namespace {

// What a handler works with, one thread each.
struct House {
  memory::Ledger ledger{int64_t{1} << 30};
  std::unique_ptr<weights::Catalog> catalog =
      weights::Catalog::Open(weights::NewMemoryStore(), ledger).value();
  Limits limits;
  Admission admission{limits, ledger};
  BufferPool buffers{0, ledger};
  Uploads uploads;
  core::ComputePool sender{1};
  core::ComputePool compute{1};
  core::ComputePool writer{1};
  Backend backend{*catalog, compute,   writer,  sender, buffers,
                  ledger,   admission, uploads, limits, {}};
};

std::thread::id ThreadOf(core::ComputePool& pool) {
  std::thread::id id;
  const absl::Status status = pool.Run({{1, [&](int64_t, core::Workspace&) {
                                           id = std::this_thread::get_id();
                                           return absl::OkStatus();
                                         }}});
  EXPECT_TRUE(status.ok()) << status;
  return id;
}

// Self-attention of `rows` rows of 64 zeros.
grpc::ByteBuffer RequestOf(int64_t rows) {
  v1::ComputeAttentionRequest request;
  v1::Tensor& query = *request.mutable_query();
  query.set_dtype(v1::DATA_TYPE_FLOAT32);
  query.add_shape(rows);
  query.add_shape(64);
  query.set_data(
      std::string(static_cast<size_t>(rows) * 64 * sizeof(float), '\0'));
  const grpc::Slice slice(request.SerializeAsString());
  return {&slice, 1};
}

// The thread that sends the answer to `bytes`.
std::thread::id ThreadThatSends(House& house, grpc::ByteBuffer bytes) {
  const auto call = std::make_shared<Call>(
      Call::Facts{"Method", [] { return std::string("id"); },
                  [] { return std::string("peer"); }, 0},
      std::make_shared<core::Cancellation>(), [](const grpc::Status&) {});
  auto ticket = house.admission.Enter(static_cast<int64_t>(bytes.Length()));
  EXPECT_TRUE(ticket.ok()) << ticket.status();
  call->set_ticket(*std::move(ticket));
  auto received =
      std::make_shared<ReceivedRequest>(ReceivedRequest::Form::kUnary);
  received->Receive(bytes);
  // Shared, since it may be destroyed here before set_value has returned.
  const auto sent = std::make_shared<std::promise<std::thread::id>>();
  ComputeAttention(call, std::move(received), house.backend,
                   [call, sent](ComputeReply&&) {
                     call->Finish(absl::OkStatus());
                     sent->set_value(std::this_thread::get_id());
                   });
  return sent->get_future().get();
}

TEST(ComputeHandler, WorkersDoNotSendLargeReplies) {
  House house;
  EXPECT_EQ(ThreadThatSends(house, RequestOf(1024)), ThreadOf(house.sender));
}

TEST(ComputeHandler, SmallRepliesChangeNoThread) {
  House house;
  for (const int64_t rows : {1, 100, 1000}) {
    EXPECT_EQ(ThreadThatSends(house, RequestOf(rows)), ThreadOf(house.compute))
        << rows << " rows";
  }
}

}  // namespace
}  // namespace attention::rpc
