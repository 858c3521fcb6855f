#include "client/cpp/files/npy.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/files/npy_header.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

int64_t LittleEndian(absl::string_view bytes) {
  int64_t number = 0;
  for (size_t i = bytes.size(); i-- > 0;) {
    number = number << 8 | static_cast<unsigned char>(bytes[i]);
  }
  return number;
}

// Counts what is taken, and refuses more than there is.
class Front {
 public:
  Front(const std::string& source, int64_t size, NextBytes next)
      : source_(source), size_(size), next_(next) {}

  absl::StatusOr<std::string> Take(int64_t count, absl::string_view what) {
    if (count > size_ - taken_) {
      return FileError(
          source_, absl::StrCat("ends at byte ", size_, ", inside of ", what,
                                "; is it cut off?"));
    }
    std::string bytes(static_cast<size_t>(count), '\0');
    absl::Status status = next_(bytes.data(), count);
    if (!status.ok()) return status;
    taken_ += count;
    return bytes;
  }

  int64_t left() const { return size_ - taken_; }

 private:
  const std::string& source_;
  const int64_t size_;
  const NextBytes next_;
  int64_t taken_ = 0;
};

absl::StatusOr<NpyHeader> TakeHeader(const std::string& source, Front& front) {
  const auto magic = front.Take(std::min<int64_t>(8, front.left()), "");
  if (!magic.ok()) return magic.status();
  if (magic->size() < 8 || magic->compare(0, kNpyMagic.size(), kNpyMagic.data(),
                                          kNpyMagic.size()) != 0) {
    return FileError(source,
                     "is not a .npy file, which starts with \\x93NUMPY; save "
                     "it with numpy.save, or name its format with "
                     "--input-format");
  }
  const int major = static_cast<unsigned char>((*magic)[6]);
  const int minor = static_cast<unsigned char>((*magic)[7]);
  if (major < 1 || major > 3 || minor != 0) {
    return FileError(source, absl::StrCat("is of .npy version ", major, ".",
                                          minor, "; expected 1.0, 2.0 or 3.0"));
  }
  const auto length = front.Take(major == 1 ? 2 : 4, "the header's length");
  if (!length.ok()) return length.status();
  const int64_t header_bytes = LittleEndian(*length);
  if (header_bytes > kMaxNpyHeaderBytes) {
    return FileError(
        source, absl::StrCat("states a header of ", header_bytes,
                             " bytes; expected at most ", kMaxNpyHeaderBytes));
  }
  const auto text = front.Take(header_bytes, "the header");
  if (!text.ok()) return text.status();
  return ParseNpyHeader(*text, source);
}

void SwapBytes(int64_t element_size, std::string& data) {
  const auto step = static_cast<ptrdiff_t>(element_size);
  for (auto element = data.begin(); element != data.end(); element += step) {
    std::reverse(element, element + step);
  }
}

// Elements of which the first axis varies fastest, as elements of which the
// last does.
std::string RowMajor(const Array& array) {
  const auto element_size = static_cast<size_t>(ElementSize(array.type));
  const size_t rank = array.shape.size();
  std::vector<size_t> strides(rank);
  size_t stride = element_size;
  for (size_t axis = 0; axis < rank; ++axis) {
    strides[axis] = stride;
    stride *= static_cast<size_t>(array.shape[axis]);
  }
  std::string data;
  data.reserve(array.data.size());
  std::vector<int64_t> index(rank, 0);
  size_t from = 0;
  while (data.size() < array.data.size()) {
    data.append(array.data, from, element_size);
    for (size_t axis = rank; axis-- > 0;) {
      from += strides[axis];
      if (++index[axis] < array.shape[axis]) break;
      from -= strides[axis] * static_cast<size_t>(index[axis]);
      index[axis] = 0;
    }
  }
  return data;
}

}  // namespace

absl::StatusOr<Array> ReadNpy(const std::string& source, int64_t size,
                              NextBytes next, const ReadLimits& limits) {
  Front front(source, size, next);
  absl::StatusOr<NpyHeader> header = TakeHeader(source, front);
  if (!header.ok()) return header.status();

  const int64_t element_size = ElementSize(header->type);
  const std::optional<int64_t> bytes = ByteCount(element_size, header->shape);
  if (!bytes) {
    return FileError(
        source, absl::StrCat("states a shape of ", ShapeString(header->shape),
                             ", which is beyond any memory"));
  }
  absl::Status status = CheckLimit(source, "its array", *bytes, limits);
  if (!status.ok()) return status;
  if (*bytes != front.left()) {
    return FileError(
        source, absl::StrCat("has ", front.left(), " bytes of elements, but ",
                             ElementTypeName(header->type), " of shape ",
                             ShapeString(header->shape), " takes ", *bytes,
                             *bytes > front.left()
                                 ? "; is it cut off?"
                                 : "; save one array to a file, or many with "
                                   "numpy.savez"));
  }
  absl::StatusOr<std::string> data = front.Take(*bytes, "the elements");
  if (!data.ok()) return data.status();
  Array array = {header->type, std::move(header->shape), *std::move(data)};
  if (header->is_big_endian) SwapBytes(element_size, array.data);
  if (header->is_fortran_order && array.shape.size() > 1) {
    array.data = RowMajor(array);
  }
  status = CheckBool(source, "its array", array);
  if (!status.ok()) return status;
  return array;
}

absl::StatusOr<Array> ReadNpy(const ByteSource& source,
                              const ReadLimits& limits) {
  int64_t offset = 0;
  const auto next = [&](char* out, int64_t count) {
    absl::Status status = source.Read(offset, count, out);
    offset += count;
    return status;
  };
  return ReadNpy(source.name(), source.size(), next, limits);
}

void WriteNpy(const ArrayView& array, std::ostream& out) {
  out << NpyHeaderText(array.type, array.shape) << array.data;
}

}  // namespace attention::files
