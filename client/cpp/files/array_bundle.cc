#include "client/cpp/files/array_bundle.h"

#include "absl/strings/str_cat.h"
#include "proto/error_text.h"

namespace attention::files {

absl::StatusOr<Array> ArrayBundle::Read(const std::string& name,
                                        const ReadLimits& limits) const {
  if (Has(name)) return ReadPresent(name, limits);
  const std::vector<std::string> names = Names();
  return FileError(
      source_, absl::StrCat("holds no array ", Quoted(name), "; it has ",
                            names.empty() ? "none" : QuotedEnumeration(names)));
}

absl::StatusOr<std::string> ArrayBundle::OnlyName() const {
  std::vector<std::string> names = Names();
  if (names.size() == 1) return std::move(names.front());
  if (names.empty()) {
    return FileError(source_, "holds no array; expected at least one");
  }
  return FileError(source_, absl::StrCat("holds ", names.size(), " arrays, ",
                                         QuotedEnumeration(names),
                                         "; name one behind a "
                                         "colon, as in FILE:NAME"));
}

}  // namespace attention::files
