#include "client/cpp/files/safetensors_header.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "proto/error_text.h"

namespace attention::files {
namespace {

using Json = nlohmann::ordered_json;

constexpr char kMetadataKey[] = "__metadata__";

// Dtypes of the format. A type only where the service has it.
struct Dtype {
  absl::string_view name;
  int64_t size;
  std::optional<ElementType> type;
};
constexpr Dtype kDtypes[] = {
    {"F32", 4, ElementType::kFloat32}, {"F64", 8, ElementType::kFloat64},
    {"F16", 2, ElementType::kFloat16}, {"BF16", 2, ElementType::kBfloat16},
    {"BOOL", 1, ElementType::kBool},   {"I64", 8, ElementType::kInt64},
    {"U64", 8, std::nullopt},          {"I32", 4, std::nullopt},
    {"U32", 4, std::nullopt},          {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},          {"I8", 1, std::nullopt},
    {"U8", 1, std::nullopt},           {"F8_E5M2", 1, std::nullopt},
    {"F8_E4M3", 1, std::nullopt},
};

// Parses, and finds the first key that comes twice in one object, which the
// parsed value would hide.
absl::StatusOr<Json> ParseUnique(const std::string& text,
                                 const std::string& source) {
  std::vector<std::set<std::string>> keys;  // of each open object
  std::optional<std::string> repeated;
  const auto watch = [&](int /*depth*/, Json::parse_event_t event,
                         Json& parsed) {
    if (event == Json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == Json::parse_event_t::key &&
               !keys.back().insert(parsed.get<std::string>()).second) {
      repeated = parsed.get<std::string>();
    }
    return true;
  };
  Json json;
  try {
    json = Json::parse(text, watch);
  } catch (const Json::exception& error) {
    const std::string what = error.what();
    const size_t number_end = what.find("] ");
    return FileError(
        source,
        absl::StrCat(
            "its header is not JSON: ",
            what.substr(number_end == std::string::npos ? 0 : number_end + 2)));
  }
  if (repeated) {
    return FileError(source, absl::StrCat("its header has ", Quoted(*repeated),
                                          " twice; each name may come once"));
  }
  if (!json.is_object()) {
    return FileError(source, "its header is not a JSON object");
  }
  return json;
}

// A list of integers from 0 to 2^63 - 1; none if `json` is something else.
std::optional<std::vector<int64_t>> Integers(const Json& json) {
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  if (!json.is_array()) return std::nullopt;
  std::vector<int64_t> integers;
  for (const Json& element : json) {
    if (!element.is_number_unsigned() || element.get<uint64_t>() > kMax) {
      return std::nullopt;
    }
    integers.push_back(element.get<int64_t>());
  }
  return integers;
}

class HeaderReader {
 public:
  HeaderReader(int64_t data_bytes, const std::string& source)
      : data_bytes_(data_bytes), source_(source) {}

  absl::StatusOr<SafetensorsHeader> Read(const Json& json) {
    for (const auto& [name, value] : json.items()) {
      absl::Status status =
          name == kMetadataKey ? TakeMetadata(value) : TakeEntry(name, value);
      if (!status.ok()) return status;
    }
    absl::Status status = CheckPlaces();
    if (!status.ok()) return status;
    return std::move(header_);
  }

 private:
  absl::Status Error(const std::string& name, absl::string_view problem) const {
    return FileError(source_,
                     absl::StrCat("tensor ", Quoted(name), " ", problem));
  }

  absl::Status TakeMetadata(const Json& value) {
    if (!value.is_object()) {
      return FileError(source_, "__metadata__ is not an object of strings");
    }
    for (const auto& [key, word] : value.items()) {
      if (!word.is_string()) {
        return FileError(source_, absl::StrCat("__metadata__ has ", Quoted(key),
                                               ", which is not a string"));
      }
      header_.metadata[key] = word.get<std::string>();
    }
    return absl::OkStatus();
  }

  absl::Status TakeEntry(const std::string& name, const Json& value) {
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") ||
        !value.contains("shape") || !value.contains("data_offsets")) {
      return Error(name, "needs dtype, shape and data_offsets, nothing else");
    }
    if (!value["dtype"].is_string()) return Error(name, "has no word as dtype");
    const auto shape = Integers(value["shape"]);
    if (!shape) return Error(name, "has a shape that is no list of integers");
    const auto offsets = Integers(value["data_offsets"]);
    if (!offsets || offsets->size() != 2) {
      return Error(name, "has data_offsets that are not [begin, end]");
    }
    SafetensorsEntry entry = {value["dtype"].get<std::string>(), *shape,
                              (*offsets)[0], (*offsets)[1]};
    if (entry.begin > entry.end || entry.end > data_bytes_) {
      return Error(
          name, absl::StrCat("has data_offsets [", entry.begin, ", ", entry.end,
                             "] but there are ", data_bytes_,
                             " bytes of elements; is the file cut "
                             "off?"));
    }
    absl::Status status = CheckShape(name, entry);
    if (!status.ok()) return status;
    header_.entries.emplace(name, std::move(entry));
    return absl::OkStatus();
  }

  absl::Status CheckShape(const std::string& name,
                          const SafetensorsEntry& entry) const {
    for (const Dtype& dtype : kDtypes) {
      if (dtype.name != entry.dtype) continue;
      const auto bytes = ByteCount(dtype.size, entry.shape);
      if (bytes == entry.end - entry.begin) return absl::OkStatus();
      return Error(
          name, absl::StrCat("has ", entry.end - entry.begin, " bytes but ",
                             entry.dtype, " of shape ",
                             ShapeString(entry.shape), " takes ",
                             bytes ? absl::StrCat(*bytes) : "more than 2^63"));
    }
    return absl::OkStatus();
  }

  // Every byte of the elements belongs to one tensor.
  absl::Status CheckPlaces() const {
    std::vector<std::pair<const std::string, SafetensorsEntry> const*> order;
    order.reserve(header_.entries.size());
    for (const auto& entry : header_.entries) order.push_back(&entry);
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
      return std::pair(a->second.begin, a->second.end) <
             std::pair(b->second.begin, b->second.end);
    });
    int64_t end = 0;
    for (const auto* entry : order) {
      const int64_t begin = entry->second.begin;
      if (begin != end) {
        return Error(entry->first,
                     absl::StrCat("begins at byte ", begin,
                                  begin < end ? ", inside of another, which "
                                                "ends at "
                                              : ", which leaves a gap behind ",
                                  end));
      }
      end = entry->second.end;
    }
    if (end == data_bytes_) return absl::OkStatus();
    return FileError(source_, absl::StrCat("has ", data_bytes_,
                                           " bytes of elements but its tensors "
                                           "end at ",
                                           end));
  }

  const int64_t data_bytes_;
  const std::string& source_;
  SafetensorsHeader header_;
};

absl::string_view DtypeOf(ElementType type) {
  for (const Dtype& dtype : kDtypes) {
    if (dtype.type == type) return dtype.name;
  }
  return "";  // not reached: every type has a name
}

}  // namespace

std::optional<ElementType> TypeOfSafetensorsDtype(absl::string_view dtype) {
  for (const Dtype& known : kDtypes) {
    if (known.name == dtype) return known.type;
  }
  return std::nullopt;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(
    const std::string& text, int64_t data_bytes, const std::string& source) {
  const absl::StatusOr<Json> json = ParseUnique(text, source);
  if (!json.ok()) return json.status();
  return HeaderReader(data_bytes, source).Read(*json);
}

std::string SafetensorsHeaderText(absl::Span<const NamedArray* const> arrays,
                                  const Metadata& metadata) {
  constexpr size_t kAlignment = 8;
  Json json = Json::object();
  if (!metadata.empty()) json[kMetadataKey] = metadata;
  size_t begin = 0;
  for (const NamedArray* named : arrays) {
    const ArrayView& array = named->array;
    const size_t end = begin + array.data.size();
    json[named->name] = {
        {"dtype", std::string(DtypeOf(array.type))},
        {"shape", std::vector<int64_t>(array.shape.begin(), array.shape.end())},
        {"data_offsets", {begin, end}}};
    begin = end;
  }
  // A name that is not UTF-8 is mended, since JSON cannot hold it.
  std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  const uint64_t length = text.size();
  std::string header(sizeof(length), '\0');
  std::memcpy(header.data(), &length, sizeof(length));
  return header + text;
}

}  // namespace attention::files
