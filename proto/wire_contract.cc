#include "proto/wire_contract.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <stdexcept>

#include "absl/strings/str_cat.h"

namespace attention {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

// The bound is the message's own.
constexpr int64_t kAny = std::numeric_limits<int64_t>::max();

// Of strings and bytes: bytes. A string is never bounded above
// WireContract::kAlwaysTaken, which is as far as it can be looked at.
struct Bounded {
  absl::string_view field;
  int64_t most;
};
constexpr Bounded kMostBytes[] = {
    {"attention.v1.Tensor.data", kAny},
    {"attention.v1.WeightSetSelector.name", 128},
    {"attention.v1.WeightSetSelector.label", 64},
    {"attention.v1.SetWeightsRequest.name", 128},
    {"attention.v1.SetWeightsRequest.idempotency_key", 128},
    {"attention.v1.SetWeightsRequest.labels", 64},
    {"attention.v1.SetWeightsRequest.AnnotationsEntry.key", 128},
    {"attention.v1.SetWeightsRequest.AnnotationsEntry.value", 1024},
    {"attention.v1.UploadWeightsRequest.Header.name", 128},
    {"attention.v1.UploadWeightsRequest.Header.idempotency_key", 128},
    {"attention.v1.UploadWeightsRequest.Header.labels", 64},
    {"attention.v1.UploadWeightsRequest.Header.AnnotationsEntry.key", 128},
    {"attention.v1.UploadWeightsRequest.Header.AnnotationsEntry.value", 1024},
    {"attention.v1.UploadWeightsRequest.sha256", 64},
    {"attention.v1.TensorChunk.tensor", 64},
    {"attention.v1.TensorChunk.data", int64_t{1} << 20},
    {"attention.v1.ListWeightsRequest.name", 128},
    {"attention.v1.ListWeightsRequest.page_token", 512},
    {"attention.v1.DeleteWeightsRequest.name", 128},
    {"attention.v1.SetLabelRequest.name", 128},
    {"attention.v1.SetLabelRequest.label", 64},
    {"grpc.health.v1.HealthCheckRequest.service", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.host", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.file_by_filename", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.file_containing_symbol", 1024},
    {"grpc.reflection.v1.ServerReflectionRequest.all_extension_numbers_of_type",
     1024},
    {"grpc.reflection.v1.ServerReflectionRequest.list_services", 1024},
    {"grpc.reflection.v1.ExtensionRequest.containing_type", 1024},
};

// Of repeated fields: entries.
constexpr Bounded kMostEntries[] = {
    {"attention.v1.Tensor.shape", 8},
    {"attention.v1.SetWeightsRequest.labels", 64},
    {"attention.v1.SetWeightsRequest.annotations", 64},
    {"attention.v1.UploadWeightsRequest.Header.labels", 64},
    {"attention.v1.UploadWeightsRequest.Header.annotations", 64},
};

constexpr absl::string_view kShape = "attention.v1.Tensor.shape";
// Bounded by the product of the shape beside them.
constexpr absl::string_view kByShape[] = {"attention.v1.Tensor.values"};
// Bounded by the first axis of the query beside them.
constexpr absl::string_view kByBatch[] = {
    "attention.v1.ComputeAttentionRequest.query_offsets",
    "attention.v1.ComputeAttentionRequest.key_lengths"};

// Not named in the paths of what is inside (the contract's comments on
// StreamAttention and UploadWeights).
constexpr absl::string_view kUnnamed[] = {
    "attention.v1.StreamAttentionRequest.request",
    "attention.v1.UploadWeightsRequest.header"};

template <typename List>
bool Has(const List& list, absl::string_view name) {
  return std::find(std::begin(list), std::end(list), name) != std::end(list);
}

// Null if the list lacks it.
template <typename List>
const Bounded* Find(const List& list, absl::string_view name) {
  const auto* const found =
      std::find_if(std::begin(list), std::end(list),
                   [&](const Bounded& bound) { return bound.field == name; });
  return found == std::end(list) ? nullptr : found;
}

}  // namespace

WireContract::WireContract(const Descriptor& message) : message_(message) {
  AddNode(message, /*parent=*/-1, /*in_parent=*/nullptr);
  if (counters_ > kMaxCounters) {
    throw std::length_error(absl::StrCat(
        message.full_name(), " has ", counters_,
        " repeated fields, more than a walk counts: ", kMaxCounters));
  }
  for (size_t node = 0; node < nodes_.size(); ++node) {
    FindShapes(static_cast<int>(node));
  }
}

int WireContract::AddNode(const Descriptor& message, int parent,
                          const FieldDescriptor* in_parent) {
  const auto index = static_cast<int>(nodes_.size());
  nodes_.push_back({parent, in_parent, {}});
  for (int i = 0; i < message.field_count(); ++i) {
    const FieldDescriptor& descriptor = *message.field(i);
    Field field = FieldOf(descriptor);
    if (field.kind == Kind::kMessage) {
      field.node = AddNode(*descriptor.message_type(), index, &descriptor);
    }
    std::vector<Field>& fields = nodes_[static_cast<size_t>(index)].fields;
    const auto number = static_cast<size_t>(descriptor.number());
    if (fields.size() <= number) fields.resize(number + 1);
    fields[number] = field;
  }
  return index;
}

WireContract::Field WireContract::FieldOf(const FieldDescriptor& descriptor) {
  Field field;
  field.descriptor = &descriptor;
  field.named = !Has(kUnnamed, descriptor.full_name());
  const absl::string_view name = descriptor.full_name();
  switch (descriptor.type()) {
    case FieldDescriptor::TYPE_DOUBLE:
    case FieldDescriptor::TYPE_FIXED64:
    case FieldDescriptor::TYPE_SFIXED64:
      field.kind = Kind::kFixed64;
      break;
    case FieldDescriptor::TYPE_FLOAT:
    case FieldDescriptor::TYPE_FIXED32:
    case FieldDescriptor::TYPE_SFIXED32:
      field.kind = Kind::kFixed32;
      break;
    case FieldDescriptor::TYPE_STRING:
    case FieldDescriptor::TYPE_BYTES: {
      field.kind = descriptor.type() == FieldDescriptor::TYPE_STRING
                       ? Kind::kString
                       : Kind::kBytes;
      const Bounded* const bytes = Find(kMostBytes, name);
      if (bytes == nullptr) unbounded_.emplace_back(name);
      field.max_bytes = bytes == nullptr ? kAny : bytes->most;
      assert(bytes == nullptr || field.kind == Kind::kBytes ||
             bytes->most <= kAlwaysTaken);
      break;
    }
    case FieldDescriptor::TYPE_MESSAGE:
      field.kind = Kind::kMessage;
      break;
    default:
      field.kind = Kind::kVarint;
  }
  const auto cpp_type = descriptor.cpp_type();
  field.number_bytes = cpp_type == FieldDescriptor::CPPTYPE_DOUBLE ||
                               cpp_type == FieldDescriptor::CPPTYPE_INT64 ||
                               cpp_type == FieldDescriptor::CPPTYPE_UINT64
                           ? 8
                           : 4;
  if (!descriptor.is_repeated()) return field;
  field.counter = counters_++;
  field.axes = name == kShape;
  if (Has(kByShape, name)) {
    field.bound = Bound::kShape;
  } else if (Has(kByBatch, name)) {
    field.bound = Bound::kBatch;
  } else {
    const Bounded* const entries = Find(kMostEntries, name);
    if (entries == nullptr) unbounded_.emplace_back(name);
    field.max_entries = entries == nullptr ? kAny : entries->most;
  }
  return field;
}

void WireContract::FindShapes(int node) {
  std::vector<Field>& fields = nodes_[static_cast<size_t>(node)].fields;
  const auto shape_in = [](const std::vector<Field>& among) {
    const auto found =
        std::find_if(among.begin(), among.end(),
                     [](const Field& field) { return field.axes; });
    assert(found != among.end());
    return found->counter;
  };
  for (Field& field : fields) {
    if (field.descriptor == nullptr) continue;
    if (field.bound == Bound::kShape) field.shape = shape_in(fields);
    if (field.bound == Bound::kBatch) {
      const auto* const query =
          field.descriptor->containing_type()->FindFieldByName("query");
      const int query_node = fields[static_cast<size_t>(query->number())].node;
      field.shape = shape_in(nodes_[static_cast<size_t>(query_node)].fields);
    }
  }
}

std::vector<std::string> WireContract::unbounded() const { return unbounded_; }

}  // namespace attention
