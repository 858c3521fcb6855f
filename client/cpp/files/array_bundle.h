// Files of several arrays, each with a name.
#ifndef CLIENT_CPP_FILES_ARRAY_BUNDLE_H_
#define CLIENT_CPP_FILES_ARRAY_BUNDLE_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/cpp/files/array.h"

namespace attention::files {

// An array under the name it is to have in a file.
struct NamedArray {
  std::string name;
  ArrayView array;
};

// What a file says about itself: words under names.
using Metadata = std::map<std::string, std::string>;

// An .npz or a .safetensors file, read array by array: what is not asked for
// takes no memory and may be of any type. Not thread-safe. Refers to the source
// it was opened on, which must outlive it.
class ArrayBundle {
 public:
  virtual ~ArrayBundle() = default;
  ArrayBundle(const ArrayBundle&) = delete;
  ArrayBundle& operator=(const ArrayBundle&) = delete;

  // What errors call the file.
  const std::string& source() const { return source_; }

  // Sorted.
  virtual std::vector<std::string> Names() const = 0;
  virtual bool Has(absl::string_view name) const = 0;

  // Empty for .npz, which has no place for it.
  virtual const Metadata& metadata() const = 0;

  // Reads one array. An unknown name is refused with a list of those there are.
  absl::StatusOr<Array> Read(const std::string& name,
                             const ReadLimits& limits) const;

  // The name of the only array; if there are several, an error that lists them.
  absl::StatusOr<std::string> OnlyName() const;

 protected:
  explicit ArrayBundle(std::string source) : source_(std::move(source)) {}

 private:
  // Read of an array that is there.
  virtual absl::StatusOr<Array> ReadPresent(const std::string& name,
                                            const ReadLimits& limits) const = 0;

  const std::string source_;
};

}  // namespace attention::files

#endif  // CLIENT_CPP_FILES_ARRAY_BUNDLE_H_
