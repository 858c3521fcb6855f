// Reads an array from one file and writes it to another:
//
//   convert_array FROM[:NAME] TO TEXT_TYPE
//
// Formats go by the endings; TEXT_TYPE (float32 and so on) is what JSON and CSV
// are read as. Ends with 1 and a line of error if it cannot. So that tests in
// other languages can compare the readers and writers with those they have.
#include <fstream>
#include <iostream>
#include <string>

#include "client/cpp/files/array_file.h"

namespace attention::files {
namespace {

ElementType TypeOfName(const std::string& name) {
  for (const ElementType type : {ElementType::kFloat64, ElementType::kFloat16,
                                 ElementType::kBfloat16, ElementType::kBool}) {
    if (name == std::string(ElementTypeName(type))) return type;
  }
  return ElementType::kFloat32;
}

absl::Status Convert(const std::string& from, const std::string& to,
                     ElementType text_type) {
  const ArrayPlace place = PlaceOf(from);
  const auto source = OpenSource(place.path);
  if (!source.ok()) return source.status();
  const absl::StatusOr<Array> array = ReadArray(
      **source, FormatOfFile(place.path, **source), place.name, text_type, {});
  if (!array.ok()) return array.status();
  std::ofstream file(to, std::ios::binary);
  const NamedArray named[] = {{"x", *array}};
  return WriteArrays(named, {}, *FormatOfEnding(to), file);
}

}  // namespace
}  // namespace attention::files

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: convert_array FROM[:NAME] TO TEXT_TYPE\n";
    return 2;
  }
  const absl::Status status = attention::files::Convert(
      argv[1], argv[2], attention::files::TypeOfName(argv[3]));
  if (status.ok()) return 0;
  std::cerr << std::string(status.message()) << "\n";
  return 1;
}
