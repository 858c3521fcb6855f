// Formats of array files, and what `FILE:NAME` means.
#ifndef CLIENT_CPP_FILES_FILE_FORMAT_H_
#define CLIENT_CPP_FILES_FILE_FORMAT_H_

#include <map>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "client/cpp/files/byte_source.h"

namespace attention::files {

enum class FileFormat { kJson, kCsv, kNpy, kNpz, kSafetensors };

// json, csv, npy, npz, safetensors.
const std::map<std::string, FileFormat>& FileFormatWords();

// Its word.
const std::string& FileFormatWord(FileFormat format);

// Whether the format holds several arrays, each with a name.
bool IsBundle(FileFormat format);

// By the ending of the file's name, whatever its case; none if it says nothing.
std::optional<FileFormat> FormatOfEnding(absl::string_view path);

// What the file is. An ending of .npy, .npz or .safetensors decides; otherwise
// the content, since text has many endings and the standard input has none.
FileFormat FormatOfFile(absl::string_view path, const ByteSource& source);

// The first character that is not blank; 0 if there is none.
char FirstCharacter(const ByteSource& source);

// An array in a file.
struct ArrayPlace {
  std::string path;                 // "-": the standard input
  std::optional<std::string> name;  // of the array, in a file of several
};

// `text` is FILE or FILE:NAME. A name starts behind the first colon in front of
// which there is a file (or "-"), unless all of `text` is the path of one.
ArrayPlace PlaceOf(const std::string& text);

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_FILE_FORMAT_H_
