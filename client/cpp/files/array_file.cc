#include "client/cpp/files/array_file.h"

#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/files/csv.h"
#include "client/cpp/files/json_array.h"
#include "client/cpp/files/npy.h"
#include "client/cpp/files/npz.h"
#include "client/cpp/files/safetensors.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

absl::StatusOr<Array> ReadFromBundle(const ByteSource& source,
                                     FileFormat format,
                                     const std::optional<std::string>& name,
                                     const ReadLimits& limits) {
  const auto bundle = OpenBundle(source, format);
  if (!bundle.ok()) return bundle.status();
  if (name) return (*bundle)->Read(*name, limits);
  const absl::StatusOr<std::string> only = (*bundle)->OnlyName();
  if (!only.ok()) return only.status();
  return (*bundle)->Read(*only, limits);
}

absl::Status CheckRank(const NamedArray& named, FileFormat format) {
  const size_t rank = named.array.shape.size();
  if (format == FileFormat::kCsv && rank != 2) {
    return FileError(named.name,
                     absl::StrCat("has shape ", ShapeString(named.array.shape),
                                  ", but csv holds rank 2; use json, npy, npz "
                                  "or safetensors"));
  }
  if (format == FileFormat::kJson && rank == 0) {
    return FileError(named.name,
                     "has no axes, which json arrays cannot show; use npy, "
                     "npz or safetensors");
  }
  return absl::OkStatus();
}

std::string Listed(absl::Span<const NamedArray> arrays) {
  std::vector<std::string> names;
  names.reserve(arrays.size());
  for (const NamedArray& named : arrays) names.push_back(named.name);
  return Enumeration(names);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenBundle(
    const ByteSource& source, FileFormat format) {
  return format == FileFormat::kNpz ? OpenNpz(source) : OpenSafetensors(source);
}

absl::StatusOr<Array> ReadArray(const ByteSource& source, FileFormat format,
                                const std::optional<std::string>& name,
                                ElementType text_type,
                                const ReadLimits& limits) {
  if (IsBundle(format)) return ReadFromBundle(source, format, name, limits);
  if (name) {
    return FileError(source.name(),
                     absl::StrCat("is ", FileFormatWord(format),
                                  ", one array without a name; leave out ",
                                  Quoted(absl::StrCat(":", *name))));
  }
  if (format == FileFormat::kNpy) return ReadNpy(source, limits);
  return format == FileFormat::kJson ? ReadJsonArray(source, text_type, limits)
                                     : ReadCsv(source, text_type, limits);
}

absl::Status CheckWritable(absl::Span<const NamedArray> arrays,
                           FileFormat format) {
  std::set<absl::string_view> names;
  for (const NamedArray& named : arrays) {
    if (!names.insert(named.name).second) {
      return FileError(FileFormatWord(format),
                       absl::StrCat("would have ", Quoted(named.name),
                                    " twice; each name may come once"));
    }
  }
  if (IsBundle(format)) return absl::OkStatus();
  if (arrays.size() == 1) return CheckRank(arrays[0], format);
  return FileError(
      FileFormatWord(format),
      absl::StrCat("holds one array, but there are ", arrays.size(), ": ",
                   Listed(arrays), "; use npz or safetensors"));
}

absl::Status WriteArrays(absl::Span<const NamedArray> arrays,
                         const Metadata& metadata, FileFormat format,
                         std::ostream& out) {
  absl::Status status = CheckWritable(arrays, format);
  if (!status.ok()) return status;
  switch (format) {
    case FileFormat::kNpz:
      return WriteNpz(arrays, out);
    case FileFormat::kSafetensors:
      WriteSafetensors(arrays, metadata, out);
      break;
    case FileFormat::kNpy:
      WriteNpy(arrays[0].array, out);
      break;
    case FileFormat::kJson:
      WriteJsonArray(arrays[0].array, out);
      break;
    case FileFormat::kCsv:
      WriteCsv(arrays[0].array, out);
      break;
  }
  return absl::OkStatus();
}

}  // namespace attention::files
