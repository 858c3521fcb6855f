#include "client/cpp/files/npz.h"

#include <zip.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/cpp/files/npy.h"
#include "client/cpp/files/npy_header.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

constexpr absl::string_view kNpyEnding = ".npy";

// An archive that is left as it is.
struct Discard {
  void operator()(zip_t* archive) const { zip_discard(archive); }
};
using Archive = std::unique_ptr<zip_t, Discard>;

struct CloseMember {
  void operator()(zip_file_t* member) const { zip_fclose(member); }
};
using Member = std::unique_ptr<zip_file_t, CloseMember>;

class ErrorText {
 public:
  ErrorText() { zip_error_init(&error_); }
  ~ErrorText() { zip_error_fini(&error_); }
  ErrorText(const ErrorText&) = delete;
  ErrorText& operator=(const ErrorText&) = delete;
  zip_error_t* get() { return &error_; }
  const char* text() { return zip_error_strerror(&error_); }

 private:
  zip_error_t error_ = {};
};

// Lets libzip read a ByteSource. It lives as long as libzip's source of it.
class ZipInput {
 public:
  explicit ZipInput(const ByteSource& source) : source_(source) {}

  static zip_int64_t Callback(void* self, void* data, zip_uint64_t length,
                              zip_source_cmd_t command) {
    return static_cast<ZipInput*>(self)->Run(data, length, command);
  }

 private:
  zip_int64_t Run(void* data, zip_uint64_t length, zip_source_cmd_t command) {
    switch (command) {
      case ZIP_SOURCE_OPEN:
        offset_ = 0;
        return 0;
      case ZIP_SOURCE_READ:
        return Read(static_cast<char*>(data), static_cast<int64_t>(length));
      case ZIP_SOURCE_STAT: {
        auto* const about = static_cast<zip_stat_t*>(data);
        zip_stat_init(about);
        about->size = static_cast<zip_uint64_t>(source_.size());
        about->valid |= ZIP_STAT_SIZE;
        return sizeof(*about);
      }
      case ZIP_SOURCE_SEEK: {
        const zip_int64_t offset = zip_source_seek_compute_offset(
            static_cast<zip_uint64_t>(offset_),
            static_cast<zip_uint64_t>(source_.size()), data, length,
            error_.get());
        if (offset < 0) return -1;
        offset_ = offset;
        return 0;
      }
      case ZIP_SOURCE_TELL:
        return offset_;
      case ZIP_SOURCE_ERROR:
        return zip_error_to_data(error_.get(), data, length);
      case ZIP_SOURCE_CLOSE:
        return 0;
      case ZIP_SOURCE_FREE:
        delete this;
        return 0;
      case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
            ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
            ZIP_SOURCE_SUPPORTS, -1);
      default:
        zip_error_set(error_.get(), ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
  }

  zip_int64_t Read(char* out, int64_t length) {
    const int64_t count = std::min(length, source_.size() - offset_);
    if (!source_.Read(offset_, count, out).ok()) {
      zip_error_set(error_.get(), ZIP_ER_READ, 0);
      return -1;
    }
    offset_ += count;
    return count;
  }

  const ByteSource& source_;
  int64_t offset_ = 0;
  ErrorText error_;
};

// A member as it is read, from front to back.
class MemberReader {
 public:
  MemberReader(Member member, std::string name)
      : member_(std::move(member)), name_(std::move(name)) {}

  // Fills `out`.
  absl::Status Next(char* out, int64_t count) {
    while (count > 0) {
      const zip_int64_t got =
          zip_fread(member_.get(), out, static_cast<zip_uint64_t>(count));
      if (got < 0) return Damaged();
      if (got == 0) {
        return FileError(name_, "unfolds to less than the archive states");
      }
      out += got;
      count -= got;
    }
    return absl::OkStatus();
  }

  // That nothing is left, and the checksum is right.
  absl::Status Finish() {
    char byte = 0;
    const zip_int64_t got = zip_fread(member_.get(), &byte, 1);
    if (got < 0) return Damaged();
    if (got == 0) return absl::OkStatus();
    return FileError(name_, "unfolds to more than the archive states");
  }

  // Reads `size` bytes and the end into nothing.
  absl::Status Rehearse(int64_t size) {
    char block[1 << 16];
    for (int64_t left = size; left > 0;) {
      const auto count = std::min<int64_t>(left, sizeof(block));
      absl::Status status = Next(block, count);
      if (!status.ok()) return status;
      left -= count;
    }
    return Finish();
  }

 private:
  absl::Status Damaged() const {
    return FileError(name_, absl::StrCat("cannot be unpacked: ",
                                         zip_file_strerror(member_.get()),
                                         "; is the archive damaged?"));
  }

  Member member_;
  std::string name_;
};

class NpzFile : public ArrayBundle {
 public:
  NpzFile(const std::string& source, int64_t size, Archive archive,
          std::map<std::string, zip_uint64_t> members)
      : ArrayBundle(source),
        size_(size),
        archive_(std::move(archive)),
        members_(std::move(members)) {}

  std::vector<std::string> Names() const override {
    std::vector<std::string> names;
    names.reserve(members_.size());
    for (const auto& [name, index] : members_) names.push_back(name);
    return names;
  }

  bool Has(absl::string_view name) const override {
    return members_.count(std::string(name)) == 1;
  }

  const Metadata& metadata() const override {
    static const Metadata* const none = new Metadata;
    return *none;
  }

 private:
  absl::StatusOr<Array> ReadPresent(const std::string& name,
                                    const ReadLimits& limits) const override {
    const std::string what = absl::StrCat(source(), ":", name);
    const zip_uint64_t index = members_.at(name);
    zip_stat_t about;
    if (zip_stat_index(archive_.get(), index, 0, &about) != 0) {
      return ArchiveError(what);
    }
    const auto size = static_cast<int64_t>(about.size);
    const bool is_stored = about.comp_method == ZIP_CM_STORE;
    absl::Status status = CheckStatedSize(what, size, is_stored, limits);
    if (!status.ok()) return status;
    if (!is_stored) {
      absl::StatusOr<MemberReader> rehearsal = Open(index, what);
      if (!rehearsal.ok()) return rehearsal.status();
      status = rehearsal->Rehearse(size);
      if (!status.ok()) return status;
    }
    absl::StatusOr<MemberReader> member = Open(index, what);
    if (!member.ok()) return member.status();
    absl::StatusOr<Array> array = ReadNpy(
        what, size,
        [&](char* out, int64_t count) { return member->Next(out, count); },
        limits);
    if (!array.ok()) return array;
    status = member->Finish();
    if (!status.ok()) return status;
    return array;
  }

  absl::Status CheckStatedSize(const std::string& what, int64_t size,
                               bool is_stored, const ReadLimits& limits) const {
    if (size < 0 || (is_stored && size > size_)) {
      return FileError(
          what, absl::StrCat("is stated to have ", size,
                             " bytes, but the whole archive has ", size_));
    }
    return CheckLimit(what, "its array", size - kMaxNpyHeaderBytes, limits);
  }

  absl::StatusOr<MemberReader> Open(zip_uint64_t index,
                                    const std::string& what) const {
    Member member(zip_fopen_index(archive_.get(), index, 0));
    if (member == nullptr) return ArchiveError(what);
    return MemberReader(std::move(member), what);
  }

  absl::Status ArchiveError(const std::string& what) const {
    return FileError(what, absl::StrCat("cannot be unpacked: ",
                                        zip_strerror(archive_.get())));
  }

  const int64_t size_;
  const Archive archive_;
  const std::map<std::string, zip_uint64_t> members_;
};

absl::StatusOr<Archive> OpenArchive(const ByteSource& source) {
  ErrorText error;
  auto* const input = new ZipInput(source);  // freed with zip_source
  zip_source_t* const zip_source =
      zip_source_function_create(&ZipInput::Callback, input, error.get());
  if (zip_source == nullptr) {
    delete input;
    return FileError(source.name(), error.text());
  }
  Archive archive(zip_open_from_source(zip_source, ZIP_RDONLY | ZIP_CHECKCONS,
                                       error.get()));
  if (archive != nullptr) return archive;
  zip_source_free(zip_source);
  return FileError(source.name(),
                   absl::StrCat("is not a .npz file, or is damaged: ",
                                error.text(), "; save it with numpy.savez"));
}

// The front of a member, and its array behind it, without a copy.
zip_source_t* MemberSource(const std::string& header, const ArrayView& array,
                           zip_error_t* error) {
  const auto fragment = [](absl::string_view bytes) {
    // libzip only reads it.
    auto* const data = const_cast<char*>(bytes.data());
    return zip_buffer_fragment_t{reinterpret_cast<zip_uint8_t*>(data),
                                 bytes.size()};
  };
  const zip_buffer_fragment_t fragments[] = {fragment(header),
                                             fragment(array.data)};
  const bool is_empty = array.data.empty();  // an empty fragment is refused
  return zip_source_buffer_fragment_create(fragments, is_empty ? 1 : 2, 0,
                                           error);
}

absl::Status AddMember(zip_t* archive, const NamedArray& named,
                       const std::string& header) {
  // As numpy.savez: the first day there is, so that bytes do not depend on
  // when.
  constexpr zip_uint16_t kFirstOfJanuary1980 = 1 << 5 | 1;
  ErrorText error;
  zip_source_t* const source = MemberSource(header, named.array, error.get());
  if (source == nullptr) return FileError(named.name, error.text());
  const zip_int64_t added =
      zip_file_add(archive, absl::StrCat(named.name, kNpyEnding).c_str(),
                   source, ZIP_FL_ENC_UTF_8);
  if (added < 0) zip_source_free(source);
  const auto index = static_cast<zip_uint64_t>(added);
  if (added < 0 ||
      zip_set_file_compression(archive, index, ZIP_CM_STORE, 0) != 0 ||
      zip_file_set_dostime(archive, index, 0, kFirstOfJanuary1980, 0) != 0) {
    return FileError(named.name, zip_strerror(archive));
  }
  return absl::OkStatus();
}

absl::Status CopyTo(zip_source_t* archive, std::ostream& out) {
  if (zip_source_open(archive) != 0) {
    return FileError("the archive",
                     zip_error_strerror(zip_source_error(archive)));
  }
  char block[1 << 16];
  zip_int64_t got = 0;
  while ((got = zip_source_read(archive, block, sizeof(block))) > 0) {
    out.write(block, got);
  }
  zip_source_close(archive);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ArrayBundle>> OpenNpz(const ByteSource& source) {
  absl::StatusOr<Archive> archive = OpenArchive(source);
  if (!archive.ok()) return archive.status();
  std::map<std::string, zip_uint64_t> members;
  const zip_int64_t count = zip_get_num_entries(archive->get(), 0);
  for (zip_int64_t i = 0; i < count; ++i) {
    const auto index = static_cast<zip_uint64_t>(i);
    const char* const file = zip_get_name(archive->get(), index, 0);
    if (file == nullptr || !absl::EndsWith(file, kNpyEnding)) continue;
    const std::string name(absl::StripSuffix(file, kNpyEnding));
    if (!members.emplace(name, index).second) {
      return FileError(source.name(),
                       absl::StrCat("has ", Quoted(name),
                                    " twice; each name may come once"));
    }
  }
  return std::make_unique<NpzFile>(source.name(), source.size(),
                                   *std::move(archive), std::move(members));
}

absl::Status WriteNpz(absl::Span<const NamedArray> arrays, std::ostream& out) {
  ErrorText error;
  zip_source_t* const buffer =
      zip_source_buffer_create(nullptr, 0, 0, error.get());
  if (buffer == nullptr) return FileError("the archive", error.text());
  const std::unique_ptr<zip_source_t, decltype(&zip_source_free)> kept(
      buffer, &zip_source_free);
  zip_source_keep(buffer);  // for the archive, which frees its own
  Archive archive(zip_open_from_source(buffer, ZIP_TRUNCATE, error.get()));
  if (archive == nullptr) {
    zip_source_free(buffer);
    return FileError("the archive", error.text());
  }
  std::vector<std::string> headers;  // libzip reads them when it closes
  headers.reserve(arrays.size());
  for (const NamedArray& named : arrays) {
    headers.push_back(NpyHeaderText(named.array.type, named.array.shape));
    absl::Status status = AddMember(archive.get(), named, headers.back());
    if (!status.ok()) return status;
  }
  zip_t* const finished = archive.release();  // freed by zip_close
  if (zip_close(finished) != 0) {
    absl::Status status = FileError("the archive", zip_strerror(finished));
    zip_discard(finished);
    return status;
  }
  return CopyTo(buffer, out);
}

}  // namespace attention::files
