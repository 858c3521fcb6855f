#include "client/cpp/files/file_format.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/cpp/files/npy_header.h"
#include "client/cpp/files/safetensors.h"

namespace attention::files {
namespace {

bool StartsWith(const ByteSource& source, absl::string_view magic) {
  const auto count = static_cast<int64_t>(magic.size());
  std::string front(magic.size(), '\0');
  return source.size() >= count && source.Read(0, count, front.data()).ok() &&
         front == magic;
}

bool Exists(const std::string& path) {
  std::error_code error;
  return path == "-" || std::filesystem::exists(path, error);
}

}  // namespace

const std::map<std::string, FileFormat>& FileFormatWords() {
  static const auto* const words = new std::map<std::string, FileFormat>{
      {"json", FileFormat::kJson},
      {"csv", FileFormat::kCsv},
      {"npy", FileFormat::kNpy},
      {"npz", FileFormat::kNpz},
      {"safetensors", FileFormat::kSafetensors}};
  return *words;
}

const std::string& FileFormatWord(FileFormat format) {
  auto entry = FileFormatWords().begin();
  while (entry->second != format) ++entry;
  return entry->first;
}

bool IsBundle(FileFormat format) {
  return format == FileFormat::kNpz || format == FileFormat::kSafetensors;
}

std::optional<FileFormat> FormatOfEnding(absl::string_view path) {
  for (const auto& [word, format] : FileFormatWords()) {
    if (absl::EndsWithIgnoreCase(path, absl::StrCat(".", word))) return format;
  }
  return std::nullopt;
}

FileFormat FormatOfFile(absl::string_view path, const ByteSource& source) {
  const std::optional<FileFormat> ending = FormatOfEnding(path);
  if (ending == FileFormat::kNpy || ending == FileFormat::kNpz ||
      ending == FileFormat::kSafetensors) {
    return *ending;
  }
  if (StartsWith(source, kNpyMagic)) return FileFormat::kNpy;
  // The front of a member, or of the directory of an archive without any.
  if (StartsWith(source, "PK\x03\x04") || StartsWith(source, "PK\x05\x06")) {
    return FileFormat::kNpz;
  }
  if (LooksLikeSafetensors(source)) return FileFormat::kSafetensors;
  const char first = FirstCharacter(source);
  return first == '[' || first == '{' ? FileFormat::kJson : FileFormat::kCsv;
}

char FirstCharacter(const ByteSource& source) {
  BlockReader blocks(source);
  for (absl::string_view block = blocks.Next(); !block.empty();
       block = blocks.Next()) {
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(block);
    if (!rest.empty()) return rest[0];
  }
  return 0;
}

ArrayPlace PlaceOf(const std::string& text) {
  if (Exists(text)) return {text, {}};
  for (size_t colon = text.find(':'); colon != std::string::npos;
       colon = text.find(':', colon + 1)) {
    std::string path = text.substr(0, colon);
    if (Exists(path)) return {std::move(path), text.substr(colon + 1)};
  }
  return {text, {}};
}

}  // namespace attention::files
