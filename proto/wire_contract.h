// A look at a serialized message before protobuf makes objects of it.
//
// protobuf keeps whatever it is sent: two bytes of an empty label become 40 of
// memory, an unknown field of two bytes becomes 16. So a message that anyone
// may have sent is walked over first, where it was received, and refused where
// the contract would refuse it anyway; what the contract does not know is
// counted, and can be left out of what protobuf gets. The walk allocates
// nothing unless it refuses, and takes some nanoseconds a field.
#ifndef PROTO_WIRE_CONTRACT_H_
#define PROTO_WIRE_CONTRACT_H_

#include <google/protobuf/descriptor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace attention {

// What the walk found.
struct WireWalk {
  // INVALID_ARGUMENT; a FieldError where it is about a field.
  absl::Status status;
  // Whether the bytes are no such message at all, rather than beyond a bound of
  // the contract.
  bool malformed = false;
  // Of fields that the contract does not have, tags included.
  int64_t unknown_bytes = 0;
  // Of the data of tensors.
  int64_t data_bytes = 0;
  // Entries of repeated numbers whose count protobuf is not told before it
  // reads them, and the most that its arrays of them take: it doubles them,
  // which makes them up to twice as large as need be, and leaves those before
  // behind.
  int64_t counted_numbers = 0;
  int64_t array_bytes = 0;
};

// What the serialized form of one type of message may hold. Made once for a
// type; thread-safe.
class WireContract {
 public:
  // The bounds are a list in wire_contract.cc; see unbounded(). REQUIRES: no
  // message inside `message` contains itself or, but for the entries of a map,
  // is repeated.
  explicit WireContract(const google::protobuf::Descriptor& message);

  // Goes over a message that lies in `slices`, which may end anywhere. Refuses
  // - what protobuf's parser refuses, and besides a known field with another
  //   wire type, which protobuf would take for an unknown field, and groups
  //   that are nested more than 64 deep: malformed;
  // - a repeated field with more entries, or a string with more bytes, than the
  //   contract allows. A field that comes several times counts as a whole, as
  //   protobuf merges it;
  // - messages inside the message that come in more than 1,024 parts.
  //
  // Up to kAlwaysTaken bytes of a string, and as many entries of a field whose
  // bound is said by another (`values` by `shape`, `key_lengths` by the batch),
  // are never refused here: whoever reads the message has better words for
  // them. `max_axis` bounds the batch.
  WireWalk Walk(absl::Span<const absl::string_view> slices,
                int64_t max_axis) const;
  static constexpr int64_t kAlwaysTaken = 1024;

  // Appends a message to `out` that is the same but for its unknown fields.
  // REQUIRES: Walk(slices).status.ok(); fewer than 2^31 bytes.
  void CopyKnown(absl::Span<const absl::string_view> slices,
                 std::string& out) const;

  // Full names of strings, bytes and repeated fields that the list of bounds
  // lacks. Walk lets them be of any size.
  std::vector<std::string> unbounded() const;

  const google::protobuf::Descriptor& message() const { return message_; }

 private:
  friend class WireReader;
  friend class WireWalker;
  friend class KnownCopier;

  // Of repeated fields in one message with all that is inside it.
  static constexpr int kMaxCounters = 64;

  enum class Kind { kVarint, kFixed32, kFixed64, kString, kBytes, kMessage };

  // What bounds the entries of a repeated field.
  enum class Bound { kFixed, kShape, kBatch };

  struct Field {
    const google::protobuf::FieldDescriptor* descriptor = nullptr;
    Kind kind = Kind::kVarint;
    int64_t number_bytes = 0;  // of a number in memory
    int64_t max_bytes = 0;     // of a string or bytes
    int64_t max_entries = 0;   // of a repeated field, if kFixed
    Bound bound = Bound::kFixed;
    int shape = -1;     // the counter of the shape that says the bound
    bool axes = false;  // is a shape itself
    int counter = -1;   // a repeated field's place among all
    int node = -1;      // of a message
    bool named = true;  // in the paths of what is inside
  };

  // A message at one place in the whole. A field's place is its number.
  struct Node {
    int parent = -1;
    const google::protobuf::FieldDescriptor* in_parent = nullptr;
    std::vector<Field> fields;  // without descriptor where there is none

    const Field* Find(uint32_t number) const {
      if (number >= fields.size()) return nullptr;
      const Field& field = fields[number];
      return field.descriptor == nullptr ? nullptr : &field;
    }
  };

  int AddNode(const google::protobuf::Descriptor& message, int parent,
              const google::protobuf::FieldDescriptor* in_parent);
  Field FieldOf(const google::protobuf::FieldDescriptor& descriptor);
  // Finds the shapes that bound the fields of a node.
  void FindShapes(int node);

  const google::protobuf::Descriptor& message_;
  std::vector<Node> nodes_;  // the first is message_'s
  std::vector<std::string> unbounded_;
  int counters_ = 0;
};

}  // namespace attention

#endif  // PROTO_WIRE_CONTRACT_H_
