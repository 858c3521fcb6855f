#include "client/cpp/files/json_array.h"

#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/cpp/files/element_text.h"
#include "client/cpp/files/number_text.h"
#include "nlohmann/json.hpp"
#include "proto/error_text.h"

namespace attention::files {
namespace {

using Json = nlohmann::json;

// Far more than any tensor has.
constexpr size_t kMaxDepth = 16;

// The characters of a source, with signed zeros that a parser keeps.
class Characters {
 public:
  explicit Characters(const ByteSource& source) : blocks_(source) { Refill(); }

  bool at_end() const { return next_ == text_.size(); }
  char current() const { return text_[next_]; }
  void Advance() {
    if (++next_ == text_.size()) Refill();
  }
  const absl::Status& status() const { return blocks_.status(); }

  // As the parser wants them: a pass over the characters; only one at a time.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = char;
    using difference_type = ptrdiff_t;
    using pointer = const char*;
    using reference = char;

    // The end if `characters` is null.
    explicit Iterator(Characters* characters) : characters_(characters) {}
    char operator*() const { return characters_->current(); }
    Iterator& operator++() {
      characters_->Advance();
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.AtEnd() == b.AtEnd();
    }
    friend bool operator!=(const Iterator& a, const Iterator& b) {
      return !(a == b);
    }

   private:
    bool AtEnd() const {
      return characters_ == nullptr || characters_->at_end();
    }
    Characters* characters_;
  };

 private:
  // Text may be empty though there is more: a block can end in what is held
  // back.
  void Refill() {
    next_ = 0;
    text_.clear();
    while (text_.empty() && !is_finished_) {
      const absl::string_view block = blocks_.Next();
      if (block.empty()) {
        zeros_.Finish(text_);
        is_finished_ = true;
      }
      zeros_.Append(block, text_);
    }
  }

  BlockReader blocks_;
  SignedZeros zeros_;
  std::string text_;
  size_t next_ = 0;
  bool is_finished_ = false;
};

// Takes what the parser finds, depth first. The first element met fixes the
// rank, the first array of each level its length; all others must agree.
// Its functions have the parser's names, and stop it by returning false.
class ArrayHandler {
 public:
  ArrayHandler(const std::string& source, ElementType type,
               const ReadLimits& limits)
      : source_(source), limits_(limits) {
    array_.type = type;
  }

  absl::StatusOr<Array> Finish() {
    if (!status_.ok()) return status_;
    array_.shape = std::move(lengths_);
    return std::move(array_);
  }

  bool null() { return Refuse("null"); }
  bool boolean(bool truth) { return TakeElement(truth ? 1 : 0); }
  bool number_integer(int64_t number) {
    return TakeElement(static_cast<double>(number));
  }
  bool number_unsigned(uint64_t number) {
    return TakeElement(static_cast<double>(number));
  }
  bool number_float(double number, const std::string& /*text*/) {
    return TakeElement(number);
  }
  bool string(const std::string& text) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (text == "NaN") {
      return TakeElement(std::numeric_limits<double>::quiet_NaN());
    }
    if (text == "Infinity") return TakeElement(kInfinity);
    if (text == "-Infinity") return TakeElement(-kInfinity);
    return Refuse(Quoted(text));
  }
  bool binary(const Json::binary_t& /*bytes*/) { return Refuse("bytes"); }
  bool start_object(size_t /*size*/) { return Refuse("an object"); }
  bool key(const std::string& /*name*/) { return false; }
  bool end_object() { return false; }

  bool start_array(size_t /*size*/) {
    if (has_rank_ && counts_.size() == lengths_.size()) {
      return Refuse("an array");
    }
    if (counts_.size() == kMaxDepth) return Error("nested too deeply");
    if (!has_rank_) lengths_.push_back(kUnknown);
    counts_.push_back(0);
    return true;
  }

  bool end_array() {
    const int64_t count = counts_.back();
    counts_.pop_back();
    int64_t& length = lengths_[counts_.size()];
    has_rank_ = true;
    if (length == kUnknown) length = count;
    if (length != count) {
      return Error(absl::StrCat("has ", count, " entries but ", length,
                                " came before; all must have as many"));
    }
    if (!counts_.empty()) ++counts_.back();
    return true;
  }

  bool parse_error(size_t /*position*/, const std::string& /*last*/,
                   const Json::exception& error) {
    // The text in brackets in front is the library's number of the error.
    const std::string what = error.what();
    const size_t number_end = what.find("] ");
    status_ = FileError(
        source_,
        absl::StrCat(
            "is not JSON: ",
            what.substr(number_end == std::string::npos ? 0 : number_end + 2)));
    return false;
  }

 private:
  static constexpr int64_t kUnknown = -1;

  bool Error(absl::string_view problem) {
    std::string place;
    for (const int64_t index : counts_) {
      absl::StrAppend(&place, "[", index, "]");
    }
    status_ = FileError(
        source_,
        absl::StrCat("at ", place.empty() ? "the top" : place, ": ", problem));
    return false;
  }

  bool Refuse(absl::string_view found) {
    return Error(absl::StrCat("expected ",
                              WantsArray() ? "an array" : "a number",
                              ", found ", found));
  }

  // Whether this is no place for an element.
  bool WantsArray() const {
    return counts_.empty() || (has_rank_ && counts_.size() < lengths_.size());
  }

  bool TakeElement(double element) {
    if (WantsArray()) {
      return Error(
          absl::StrCat("expected an array, found ", ShortestText(element)));
    }
    has_rank_ = true;
    const std::string problem =
        AppendElement(element, array_.type, array_.data);
    if (!problem.empty()) return Error(problem);
    ++counts_.back();
    status_ = CheckLimit(source_, "its array",
                         static_cast<int64_t>(array_.data.size()), limits_);
    return status_.ok();
  }

  const std::string& source_;
  const ReadLimits& limits_;
  Array array_;
  bool has_rank_ = false;
  std::vector<int64_t> lengths_;  // of each level
  std::vector<int64_t> counts_;   // entries so far of each open array
  absl::Status status_;
};

void WriteLevel(const ArrayView& array, size_t axis, int64_t& next,
                std::ostream& out) {
  if (axis == array.shape.size()) {
    const double element = ElementAt(array, next);
    if (std::isnan(element)) {
      out << "\"NaN\"";
    } else if (std::isinf(element)) {
      out << (element > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    } else {
      out << ElementText(array, next);
    }
    ++next;
    return;
  }
  const bool is_row = axis + 1 == array.shape.size();
  const std::string separator =
      is_row ? ", " : ",\n" + std::string(axis + 1, ' ');
  out << '[';
  for (int64_t i = 0; i < array.shape[axis]; ++i) {
    if (i > 0) out << separator;
    WriteLevel(array, axis + 1, next, out);
  }
  out << ']';
}

}  // namespace

absl::StatusOr<Array> ReadJsonArray(const ByteSource& source, ElementType type,
                                    const ReadLimits& limits) {
  Characters characters(source);
  ArrayHandler handler(source.name(), type, limits);
  Json::sax_parse(Characters::Iterator(&characters),
                  Characters::Iterator(nullptr), &handler);
  if (!characters.status().ok()) return characters.status();
  return handler.Finish();
}

void WriteJsonArray(const ArrayView& array, std::ostream& out) {
  int64_t next = 0;
  WriteLevel(array, 0, next, out);
  out << '\n';
}

}  // namespace attention::files
