#include "client/cpp/shared_request.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "grpcpp/support/slice.h"

namespace attention::client {
namespace {

using Request = std::shared_ptr<const v1::ComputeAttentionRequest>;

// protobuf copies what fits into what is left of a block, and passes on the
// rest where it lies.
constexpr size_t kBlock = 4096;

// Collects what protobuf writes: blocks of bytes, and places in `request`.
class Slices final : public google::protobuf::io::ZeroCopyOutputStream {
 public:
  explicit Slices(Request request) : request_(std::move(request)) {}

  bool Next(void** data, int* size) override {
    slices_.emplace_back(kBlock);
    *data = const_cast<uint8_t*>(slices_.back().begin());
    *size = static_cast<int>(kBlock);
    count_ += *size;
    return true;
  }

  void BackUp(int count) override {
    const size_t left = slices_.back().size() - static_cast<size_t>(count);
    slices_.back() = slices_.back().sub(0, left);
    count_ -= count;
  }

  int64_t ByteCount() const override { return count_; }

  bool AllowsAliasing() const override { return true; }

  bool WriteAliasedRaw(const void* data, int size) override {
    auto held = std::make_unique<Request>(request_);
    slices_.emplace_back(
        const_cast<void*>(data), static_cast<size_t>(size),
        [](void* ended) { delete static_cast<Request*>(ended); },
        held.release());
    count_ += size;
    return true;
  }

  grpc::ByteBuffer Buffer() const { return {slices_.data(), slices_.size()}; }

 private:
  const Request request_;
  std::vector<grpc::Slice> slices_;
  int64_t count_ = 0;
};

}  // namespace

grpc::ByteBuffer Serialize(const Request& request) {
  Slices slices(request);
  {
    google::protobuf::io::CodedOutputStream out(&slices);
    out.EnableAliasing(true);
    request->SerializeToCodedStream(&out);
  }
  return slices.Buffer();
}

}  // namespace attention::client
