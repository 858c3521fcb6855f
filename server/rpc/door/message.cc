#include "server/rpc/door/message.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <deque>
#include <new>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/door/status.h"

namespace attention::rpc {
namespace {

// As many bytes of unknown fields as protobuf may keep, which takes no more
// memory than a small message: a client of a later contract sends such, and it
// costs nothing to read them where they are.
constexpr int64_t kKeptUnknownBytes = 256;

// Beyond this a message is gathered before it is parsed: from pieces, protobuf
// does not know how much memory a field will take and doubles it as it goes.
// Above a message of UploadWeights, whose data is read once.
constexpr size_t kMaxScattered = (size_t{1} << 20) + (size_t{64} << 10);

bool Parse(absl::Span<const absl::string_view> pieces,
           google::protobuf::Message& message) {
  using google::protobuf::io::ArrayInputStream;
  if (pieces.size() == 1) {
    return message.ParseFromArray(pieces.front().data(),
                                  static_cast<int>(pieces.front().size()));
  }
  std::deque<ArrayInputStream> streams;  // which cannot move
  std::vector<google::protobuf::io::ZeroCopyInputStream*> pointers;
  pointers.reserve(pieces.size());
  for (const absl::string_view piece : pieces) {
    pointers.push_back(
        &streams.emplace_back(piece.data(), static_cast<int>(piece.size())));
  }
  google::protobuf::io::ConcatenatingInputStream all(
      pointers.data(), static_cast<int>(pointers.size()));
  return message.ParseFromZeroCopyStream(&all);
}

}  // namespace

void ReceivedBytes::Take(grpc::ByteBuffer& bytes) {
  Clear();
  bytes_.Swap(&bytes);
  slices_.resize(1);
  if (bytes_.Valid() && !bytes_.TrySingleSlice(&slices_.front()).ok() &&
      !bytes_.Dump(&slices_).ok()) {
    throw std::bad_alloc();  // the one reason there is without compression
  }
  pieces_.reserve(slices_.size());
  for (const grpc::Slice& slice : slices_) {
    pieces_.emplace_back(reinterpret_cast<const char*>(slice.begin()),
                         slice.size());
  }
}

size_t ReceivedBytes::size() const {
  size_t size = 0;
  for (const absl::string_view piece : pieces_) size += piece.size();
  return size;
}

absl::Status ReceivedBytes::Check(const WireContract& contract,
                                  int64_t max_axis, Reading reading,
                                  Charge charge) {
  WireWalk walk = contract.Walk(pieces_, max_axis);
  if (!walk.status.ok()) {
    return walk.malformed ? WithReason(std::move(walk.status),
                                       v1::ERROR_REASON_MALFORMED_MESSAGE)
                          : walk.status;
  }
  data_bytes_ = static_cast<size_t>(walk.data_bytes);
  numbers_ = walk.counted_numbers;
  const auto all = static_cast<int64_t>(size());
  const int64_t known = all - walk.unknown_bytes;
  const bool scattered = reading == Reading::kWhole && pieces_.size() > 1 &&
                         size() > kMaxScattered;
  const bool copied = walk.unknown_bytes > kKeptUnknownBytes || scattered;
  // SplitMessage copies what it does not leave where it is, for protobuf.
  const int64_t read =
      reading == Reading::kWhole ? known : 2 * (known - walk.data_bytes);
  const int64_t taken = (copied ? known : 0) + read + walk.array_bytes;
  if (taken > static_cast<int64_t>(kInlineBytes)) {
    absl::Status charged = charge(taken);
    if (!charged.ok()) return charged;
  }
  if (!copied) return walk.status;
  known_.reserve(static_cast<size_t>(known));
  contract.CopyKnown(pieces_, known_);
  slices_.clear();
  bytes_.Clear();
  pieces_.assign(1, known_);
  return walk.status;
}

void ReceivedBytes::Clear() {
  pieces_.clear();
  slices_.clear();
  bytes_.Clear();
  known_ = std::string();
}

absl::Status ParseMessage(grpc::ByteBuffer& bytes, const WireContract& contract,
                          int64_t max_axis, google::protobuf::Message& message,
                          ReceivedBytes::Charge charge) {
  ReceivedBytes received;
  received.Take(bytes);
  absl::Status status = received.Check(contract, max_axis,
                                       ReceivedBytes::Reading::kWhole, charge);
  if (!status.ok() || Parse(received.pieces(), message)) return status;
  return WithReason(
      absl::InvalidArgumentError(absl::StrCat(
          "the message is not a serialized ", contract.message().full_name())),
      v1::ERROR_REASON_MALFORMED_MESSAGE);
}

grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  const grpc::Status status =
      grpc::SerializationTraits<google::protobuf::Message>::Serialize(
          message, &bytes, &own);
  if (!status.ok()) throw std::length_error(status.error_message());
  return bytes;
}

}  // namespace attention::rpc
