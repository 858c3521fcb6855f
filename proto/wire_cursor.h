// A place in serialized bytes that lie in pieces.
#ifndef PROTO_WIRE_CURSOR_H_
#define PROTO_WIRE_CURSOR_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace attention::wire {

// What protobuf reads of a varint at most.
constexpr int kMaxTagBytes = 5;
constexpr int kMaxSizeBytes = 5;
constexpr int kMaxVarintBytes = 10;

// Reads forward only, and allocates nothing. `slices` outlives it.
class Cursor {
 public:
  explicit Cursor(absl::Span<const absl::string_view> slices)
      : slices_(slices) {
    for (const absl::string_view slice : slices) {
      end_ += static_cast<int64_t>(slice.size());
    }
  }

  int64_t position() const { return piece_end_ - (until_ - at_); }
  int64_t end() const { return end_; }

  // False where a varint of at most `max_bytes` does not end before `end`.
  // REQUIRES: end <= end().
  bool ReadVarint(int max_bytes, int64_t end, uint64_t& value) {
    // Most have one byte, where others are.
    if (at_ < until_ && position() < end && static_cast<uint8_t>(*at_) < 0x80) {
      value = static_cast<uint8_t>(*at_++);
      return true;
    }
    value = 0;
    for (int i = 0; i < max_bytes && position() < end; ++i) {
      const absl::string_view piece = Next(1);
      const auto byte = static_cast<uint8_t>(piece.front());
      if (i < kMaxVarintBytes - 1) {
        value |= uint64_t{byte & 0x7FU} << static_cast<uint32_t>(7 * i);
      } else {
        value |= uint64_t{byte & 1U} << 63U;
      }
      if (byte < 0x80) return true;
    }
    return false;
  }

  // Calls piece(bytes) for the next `count` bytes. REQUIRES: they exist.
  template <typename Piece>
  void Take(int64_t count, Piece piece) {
    while (count > 0) {
      const absl::string_view bytes = Next(count);
      count -= static_cast<int64_t>(bytes.size());
      piece(bytes);
    }
  }

  // REQUIRES: `count` bytes exist.
  void Skip(int64_t count) {
    Take(count, [](absl::string_view) {});
  }

 private:
  // The next bytes that lie together, 1 to `most`. REQUIRES: position() < end_.
  absl::string_view Next(int64_t most) {
    while (at_ == until_) {
      const absl::string_view slice = slices_[next_slice_++];
      at_ = slice.data();
      until_ = at_ + slice.size();
      piece_end_ += static_cast<int64_t>(slice.size());
    }
    const absl::string_view piece(
        at_, static_cast<size_t>(std::min<int64_t>(most, until_ - at_)));
    at_ += piece.size();
    return piece;
  }

  absl::Span<const absl::string_view> slices_;
  size_t next_slice_ = 0;
  // What is left of the slice at hand, and the position of its end.
  const char* at_ = nullptr;
  const char* until_ = nullptr;
  int64_t piece_end_ = 0;
  int64_t end_ = 0;
};

}  // namespace attention::wire

#endif  // PROTO_WIRE_CURSOR_H_
