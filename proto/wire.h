// The few rules of protobuf's wire format that this project applies itself.
#ifndef PROTO_WIRE_H_
#define PROTO_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace attention::wire {

enum Type : uint32_t {
  kVarint = 0,
  kFixed64 = 1,
  kLengthDelimited = 2,
  kGroupStart = 3,
  kGroupEnd = 4,
  kFixed32 = 5,
};

constexpr uint32_t Tag(int field, Type type) {
  return static_cast<uint32_t>(field) << 3U | type;
}

constexpr size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >>= 7U) ++size;
  return size;
}

// Writes the shortest form to `out`, which has VarintSize(value) bytes.
inline void PutVarint(uint64_t value, char* out) {
  for (; value >= 0x80; value >>= 7U) *out++ = static_cast<char>(value | 0x80);
  *out = static_cast<char>(value);
}

inline void AppendVarint(uint64_t value, std::string& out) {
  const size_t end = out.size();
  out.resize(end + VarintSize(value));
  PutVarint(value, &out[end]);
}

}  // namespace attention::wire

#endif  // PROTO_WIRE_H_
