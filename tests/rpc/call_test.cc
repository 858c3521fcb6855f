#include "server/rpc/door/call.h"

#include <gmock/gmock.h>
#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "proto/field_error.h"
#include "server/rpc/door/admission.h"
#include "server/rpc/door/status.h"
#include "tests/support/service_fixture.h"

namespace attention::rpc {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// A call whose answers are kept.
struct Answered {
  std::vector<grpc::Status> answers;
  std::shared_ptr<Call> call = std::make_shared<Call>(
      Call::Facts{"Method", [] { return std::string("the-id"); },
                  [] { return std::string("peer"); }, 7},
      std::make_shared<core::Cancellation>(),
      [this](grpc::Status status) { answers.push_back(std::move(status)); });
};

TEST(Call, OnlyTheFirstAnswerCounts) {
  Answered answered;
  answered.call->Finish(absl::OkStatus());
  answered.call->Finish(absl::NotFoundError("late"));
  ASSERT_THAT(answered.answers, SizeIs(1));
  EXPECT_TRUE(answered.answers.front().ok());
}

TEST(Call, DroppedCallIsAnswered) {
  LogLines log;
  Answered answered;
  answered.call.reset();
  ASSERT_THAT(answered.answers, SizeIs(1));
  EXPECT_EQ(answered.answers.front().error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(log.With("dropped"), SizeIs(1));
}

TEST(Call, BadAllocIsResourceExhaustedAndMayFitLater) {
  Answered answered;
  answered.call->Guard([] { throw std::bad_alloc(); });
  ASSERT_THAT(answered.answers, SizeIs(1));
  const Refusal refusal(answered.answers.front());
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_TRUE(refusal.retry);
}

TEST(Call, OtherExceptionsAreInternalAndOnlyTheLogTellsThem) {
  LogLines log;
  Answered known;
  known.call->Guard([] { throw std::logic_error("secret"); });
  Answered unknown;
  unknown.call->Guard([] { throw 1; });
  for (const Answered* answered : {&known, &unknown}) {
    ASSERT_THAT(answered->answers, SizeIs(1));
    const Refusal refusal(answered->answers.front());
    EXPECT_EQ(refusal.code, grpc::StatusCode::INTERNAL) << refusal;
    EXPECT_THAT(refusal.message, HasSubstr("the-id"));
    EXPECT_THAT(refusal.message, Not(HasSubstr("secret")));
    EXPECT_EQ(refusal.metadata.at("request_id"), "the-id");
  }
  ASSERT_THAT(log.With("error Method id=the-id code=INTERNAL"), SizeIs(2));
  EXPECT_THAT(log.With("secret"), SizeIs(1));
}

TEST(Call, TextOfAClientCannotForgeALogLine) {
  LogLines log;
  Answered answered;
  answered.call->Finish(absl::NotFoundError("a\nb \"c\""));
  ASSERT_THAT(log.lines(), SizeIs(1));
  EXPECT_THAT(log.lines().front(), HasSubstr("error=\"a\\nb \\\"c\\\"\""));
}

TEST(Call, MemoryThatATaskCouldNotHaveMayBeFreeLater) {
  core::ComputePool pool(1);
  const absl::Status status =
      pool.Run({{1, [](int64_t, core::Workspace&) -> absl::Status {
                   throw std::bad_alloc();
                 }}});
  const Refusal refusal(ToGrpcStatus(FromPool(status)));
  EXPECT_EQ(refusal.code, grpc::StatusCode::RESOURCE_EXHAUSTED) << refusal;
  EXPECT_TRUE(refusal.retry);
  // A limit stays what it is.
  EXPECT_FALSE(
      Refusal(ToGrpcStatus(FromPool(OverLimit("bytes:", 2, 1, "max-x"))))
          .retry);
}

// The number that a line begins with, after its level.
int64_t CountIn(const std::string& line) {
  return std::stoll(line.substr(line.find(' ') + 1));
}

// Last of these, since it uses up the lines of a second.
TEST(Call, RefusalsBeyondThoseOfASecondAreCountedInPlaceOfLines) {
  LogLines log;
  constexpr int64_t kRefusals = 100 * Call::kLinesPerSecond;
  for (int64_t i = 0; i < kRefusals; ++i) {
    Answered().call->Finish(absl::NotFoundError("missing"));
  }
  const auto written = static_cast<int64_t>(log.With("code=NOT_FOUND").size());
  // Of those of this second some may have been written before.
  EXPECT_GT(written, Call::kLinesPerSecond / 2);
  EXPECT_LT(written, kRefusals);
  Call::LogLeftOut();
  int64_t left_out = 0;
  for (const std::string& line : log.With("left out")) {
    left_out += CountIn(line);
  }
  EXPECT_EQ(written + left_out, kRefusals);
}

TEST(ToGrpcStatus, CarriesCodeMessageAndDetails) {
  EXPECT_TRUE(ToGrpcStatus(absl::OkStatus()).ok());
  const grpc::Status status = ToGrpcStatus(MayFitLater(
      WithReason(FieldError(absl::StatusCode::kFailedPrecondition,
                            "key.shape[2]", "is 64 but head_dim is 128"),
                 v1::ERROR_REASON_STALLED, {{"key", "text"}})));
  google::rpc::Status details;
  ASSERT_TRUE(details.ParseFromString(status.error_details()));
  EXPECT_EQ(details.code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(details.message(), "key.shape[2] is 64 but head_dim is 128");
  EXPECT_EQ(status.error_message(), details.message());
  EXPECT_EQ(details.details(0).type_url(),
            "type.googleapis.com/google.rpc.BadRequest");
  const Refusal refusal(status);
  EXPECT_EQ(refusal.field, "key.shape[2]");
  EXPECT_EQ(refusal.description, "is 64 but head_dim is 128");
  EXPECT_TRUE(refusal.retry);
  EXPECT_EQ(refusal.reason, "STALLED");
  EXPECT_EQ(refusal.metadata.at("key"), "text");
}

TEST(ToGrpcStatus, EveryRefusalHasExactlyOneReasonOfTheContract) {
  for (int code = 1; code <= 16; ++code) {
    const absl::Status bare(static_cast<absl::StatusCode>(code), "text");
    for (const absl::Status& status :
         {bare, FieldError(bare.code(), "name", "is bad"), MayFitLater(bare),
          WithReason(bare, v1::ERROR_REASON_BUSY),
          WithReason(WithReason(bare, v1::ERROR_REASON_BUSY),
                     v1::ERROR_REASON_STALLED)}) {
      google::rpc::Status details;
      ASSERT_TRUE(
          details.ParseFromString(ToGrpcStatus(status).error_details()));
      int reasons = 0;
      for (const auto& any : details.details()) {
        google::rpc::ErrorInfo info;
        if (!any.UnpackTo(&info)) continue;
        ++reasons;
        v1::ErrorReason reason = v1::ERROR_REASON_UNSPECIFIED;
        EXPECT_TRUE(
            v1::ErrorReason_Parse("ERROR_REASON_" + info.reason(), &reason))
            << info.reason();
        EXPECT_NE(reason, v1::ERROR_REASON_UNSPECIFIED);
        EXPECT_EQ(info.domain(), "attention.v1");
      }
      EXPECT_EQ(reasons, 1) << status;
    }
  }
}

TEST(ToGrpcStatus, ReasonIsWhatTheCodeStandsForUnlessOneIsSaid) {
  const auto reason = [](const absl::Status& status) {
    return Refusal(ToGrpcStatus(status)).reason;
  };
  EXPECT_EQ(reason(FieldError("name", "is bad")), "INVALID_FIELD");
  EXPECT_EQ(reason(absl::InvalidArgumentError("x")), "MALFORMED_MESSAGE");
  EXPECT_EQ(reason(absl::NotFoundError("x")), "NOT_FOUND");
  EXPECT_EQ(reason(absl::AbortedError("x")), "VERSION_CONFLICT");
  EXPECT_EQ(reason(absl::ResourceExhaustedError("x")), "LIMIT_EXCEEDED");
  EXPECT_EQ(reason(MayFitLater(absl::ResourceExhaustedError("x"))), "BUSY");
  EXPECT_EQ(reason(absl::DeadlineExceededError("x")), "DEADLINE_EXCEEDED");
  EXPECT_EQ(reason(absl::CancelledError("x")), "CANCELLED");
  EXPECT_EQ(reason(absl::DataLossError("x")), "DATA_LOSS");
  EXPECT_EQ(reason(absl::UnavailableError("x")), "STORE_UNAVAILABLE");
  EXPECT_EQ(reason(absl::UnimplementedError("x")), "UNKNOWN_METHOD");
  EXPECT_EQ(reason(absl::UnknownError("x")), "INTERNAL");
  EXPECT_EQ(
      reason(WithReason(absl::AbortedError("x"), v1::ERROR_REASON_STALLED)),
      "STALLED");
}

TEST(ToGrpcStatus, LongTextIsCutBetweenCharacters) {
  std::string text;
  while (text.size() < 100000) text += "\xE2\x82\xAC";  // three bytes each
  const Refusal refusal(ToGrpcStatus(FieldError("name", text)));
  EXPECT_LE(refusal.message.size(), 1024U);
  EXPECT_EQ((refusal.message.size() - std::string("name ...").size()) % 3, 0U);
  EXPECT_LE(refusal.description.size(), 1024U);
  EXPECT_THAT(refusal.description, testing::EndsWith("\xE2\x82\xAC..."));
}

Limits AdmissionLimits() {
  Limits limits;
  limits.max_message_bytes = 60;
  limits.max_requests_in_flight = 2;
  return limits;
}

class AdmissionTest : public ::testing::Test {
 protected:
  // Of 114 bytes an eighth is never lent: 100 are.
  memory::Ledger ledger_{114};
  Admission admission_{AdmissionLimits(), ledger_};
};

TEST_F(AdmissionTest, CountsRequestsAndBytesUntilTheTicketEnds) {
  EXPECT_TRUE(admission_.idle());
  auto first = admission_.Enter(60);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(admission_.requests(), 1);
  EXPECT_EQ(ledger_.held(), 60);
  EXPECT_TRUE((*first)->Take({{memory::Kind::kWorkspaces, 30}}).ok());
  EXPECT_EQ(ledger_.held(), 90);
  EXPECT_FALSE((*first)->Take({{memory::Kind::kWorkspaces, 11}}).ok());
  EXPECT_EQ(ledger_.held(), 90);
  (*first)->Answered();
  (*first)->Answered();
  EXPECT_EQ(admission_.requests(), 0);
  EXPECT_EQ(ledger_.held(), 90);
  EXPECT_FALSE(admission_.idle());
  first->reset();
  EXPECT_EQ(ledger_.held(), 0);
  EXPECT_TRUE(admission_.idle());
}

TEST_F(AdmissionTest, RefusedRequestLeavesNothingBehind) {
  EXPECT_FALSE(admission_.Enter(61).ok());
  EXPECT_TRUE(admission_.idle());
  auto first = admission_.Enter(50);
  auto second = admission_.Enter(50);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_FALSE(admission_.Enter(0).ok());
  EXPECT_EQ(admission_.requests(), 2);
  second->reset();
  EXPECT_FALSE(admission_.Enter(51).ok());
  EXPECT_EQ(admission_.requests(), 1);
  EXPECT_EQ(ledger_.held(), 50);
}

TEST_F(AdmissionTest, AmountThatOverflowsIsRefused) {
  auto ticket = admission_.Enter(1);
  ASSERT_TRUE(ticket.ok());
  EXPECT_FALSE((*ticket)->Take({{memory::Kind::kWorkspaces, INT64_MAX}}).ok());
  EXPECT_EQ(ledger_.held(), 1);
}

TEST_F(AdmissionTest, DrainingIsToldToThoseWhoWatch) {
  int told = 0;
  {
    const Admission::DrainWatch ended = admission_.OnDrain([&] { ++told; });
  }
  const Admission::DrainWatch watch = admission_.OnDrain([&] { ++told; });
  EXPECT_EQ(told, 0);
  admission_.Drain();
  EXPECT_EQ(told, 1);
  // Whoever comes late hears it at once.
  const Admission::DrainWatch late = admission_.OnDrain([&] { told += 10; });
  EXPECT_EQ(told, 11);
}

TEST_F(AdmissionTest, DrainingIsUnavailable) {
  admission_.Drain();
  EXPECT_EQ(admission_.Enter(1).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(admission_.idle());
}

}  // namespace
}  // namespace attention::rpc
