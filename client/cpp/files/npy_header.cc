#include "client/cpp/files/npy_header.h"

#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

// numpy's word for each type. It has none for bfloat16: this is what ml_dtypes'
// arrays of it are saved as, two bytes without a meaning.
struct Descr {
  absl::string_view kind;  // without the byte order
  ElementType type;
};
constexpr Descr kDescrs[] = {
    {"f4", ElementType::kFloat32}, {"f8", ElementType::kFloat64},
    {"f2", ElementType::kFloat16}, {"V2", ElementType::kBfloat16},
    {"b1", ElementType::kBool},    {"i8", ElementType::kInt64},
};

// What to do about a type that is none of these.
absl::string_view CureOf(absl::string_view kind) {
  if (absl::StartsWith(kind, "O")) {
    return "arrays of Python objects are never read; save "
           "array.astype(numpy.float32)";
  }
  if (kind == "u1") {
    return "expected a float type, or for a mask bool; save "
           "array.astype(bool)";
  }
  return "expected float32, float64, float16, bool, or ml_dtypes.bfloat16; "
         "save array.astype(numpy.float32)";
}

class HeaderParser {
 public:
  HeaderParser(absl::string_view text, const std::string& source)
      : text_(text), source_(source) {}

  absl::StatusOr<NpyHeader> Parse() {
    if (!Take("{")) return Error("expected a dict");
    while (!Take("}")) {
      absl::Status status = TakeEntry();
      if (!status.ok()) return status;
      if (!Take(",") && !Peek("}")) return Error("expected , or }");
    }
    SkipBlanks();
    if (position_ != text_.size()) {
      return Error("expected nothing behind the dict");
    }
    if (!has_descr_) return Error("has no 'descr'");
    if (!has_order_) return Error("has no 'fortran_order'");
    if (!has_shape_) return Error("has no 'shape'");
    return std::move(header_);
  }

 private:
  absl::Status Error(absl::string_view problem) const {
    return FileError(source_,
                     absl::StrCat("its header ", problem, " at character ",
                                  position_, " of ", Quoted(text_)));
  }

  void SkipBlanks() {
    while (position_ < text_.size() && absl::ascii_isspace(text_[position_])) {
      ++position_;
    }
  }

  bool Peek(absl::string_view token) {
    SkipBlanks();
    return absl::StartsWith(text_.substr(position_), token);
  }

  bool Take(absl::string_view token) {
    if (!Peek(token)) return false;
    position_ += token.size();
    return true;
  }

  // A string in either quotes, without escapes.
  std::optional<absl::string_view> TakeString() {
    const bool is_single = Peek("'");
    if (!is_single && !Peek("\"")) return std::nullopt;
    const size_t end = text_.find(is_single ? '\'' : '"', position_ + 1);
    if (end == absl::string_view::npos) return std::nullopt;
    const absl::string_view word =
        text_.substr(position_ + 1, end - position_ - 1);
    if (absl::StrContains(word, '\\')) return std::nullopt;
    position_ = end + 1;
    return word;
  }

  absl::Status TakeEntry() {
    const std::optional<absl::string_view> key = TakeString();
    if (!key) return Error("lacks a key in quotes");
    if (!Take(":")) return Error("lacks a colon");
    if (*key == "descr" && !std::exchange(has_descr_, true)) return TakeDescr();
    if (*key == "fortran_order" && !std::exchange(has_order_, true)) {
      header_.is_fortran_order = Take("True");
      if (header_.is_fortran_order || Take("False")) return absl::OkStatus();
      return Error("lacks True or False");
    }
    if (*key == "shape" && !std::exchange(has_shape_, true)) return TakeShape();
    return Error(
        absl::StrCat("has an unexpected or repeated key ", Quoted(*key)));
  }

  absl::Status TakeDescr() {
    if (Peek("[")) {
      return FileError(source_,
                       "holds records with fields; expected one number per "
                       "element; save one field, array['field']");
    }
    const std::optional<absl::string_view> descr = TakeString();
    if (!descr || descr->size() < 2) return Error("lacks a type in quotes");
    const char order = (*descr)[0];
    const absl::string_view kind = descr->substr(1);
    for (const Descr& known : kDescrs) {
      if (kind != known.kind) continue;
      header_.type = known.type;
      header_.is_big_endian = order == '>';
      // Types of which the order matters say it; | is for the others.
      const bool has_order = known.kind != "b1" && known.kind != "V2";
      if (order == '<' || order == '>' || (order == '|' && !has_order)) {
        return absl::OkStatus();
      }
      return Error("lacks a byte order, < or >,");
    }
    return FileError(source_, absl::StrCat("holds elements of type ",
                                           Quoted(*descr), "; ", CureOf(kind)));
  }

  // (), (3,), (2, 3) or (2, 3,).
  absl::Status TakeShape() {
    if (!Take("(")) return Error("lacks a shape in parentheses");
    while (!Take(")")) {
      SkipBlanks();
      const size_t begin = position_;
      while (position_ < text_.size() &&
             absl::ascii_isdigit(text_[position_])) {
        ++position_;
      }
      int64_t axis = 0;
      if (!absl::SimpleAtoi(text_.substr(begin, position_ - begin), &axis)) {
        return Error("lacks the size of an axis, an integer from 0 to 2^63,");
      }
      header_.shape.push_back(axis);
      Take("L");  // as Python 2 wrote it
      const bool is_last = Peek(")");
      if (!Take(",") && (!is_last || header_.shape.size() == 1)) {
        return Error("lacks a comma");
      }
    }
    return absl::OkStatus();
  }

  const absl::string_view text_;
  const std::string& source_;
  size_t position_ = 0;
  NpyHeader header_;
  bool has_descr_ = false;
  bool has_order_ = false;
  bool has_shape_ = false;
};

absl::string_view DescrOf(ElementType type) {
  switch (type) {
    case ElementType::kFloat32:
      return "<f4";
    case ElementType::kFloat64:
      return "<f8";
    case ElementType::kFloat16:
      return "<f2";
    case ElementType::kBfloat16:
      return "<V2";
    case ElementType::kBool:
      return "|b1";
    case ElementType::kInt64:
      return "<i8";
  }
  return "";
}

void AppendLittleEndian(size_t number, size_t bytes, std::string& text) {
  for (size_t i = 0; i < bytes; ++i) {
    text += static_cast<char>(number >> (8 * i) & 0xff);
  }
}

}  // namespace

absl::StatusOr<NpyHeader> ParseNpyHeader(absl::string_view text,
                                         const std::string& source) {
  return HeaderParser(text, source).Parse();
}

std::string NpyHeaderText(ElementType type, absl::Span<const int64_t> shape) {
  constexpr size_t kAlignment = 64;
  constexpr size_t kLongestOfVersion1 = 0xffff;
  std::string dict = absl::StrCat(
      "{'descr': '", DescrOf(type), "', 'fortran_order': False, 'shape': (",
      absl::StrJoin(shape, ", "), shape.size() == 1 ? ",), }" : "), }");
  const bool is_long = dict.size() + kAlignment > kLongestOfVersion1;
  const size_t length_bytes = is_long ? 4 : 2;
  const size_t front = kNpyMagic.size() + 2 + length_bytes;
  const size_t unfilled = front + dict.size() + 1;
  dict.append((kAlignment - unfilled % kAlignment) % kAlignment, ' ');
  dict += '\n';

  std::string header(kNpyMagic);
  header += is_long ? '\x02' : '\x01';
  header += '\0';
  AppendLittleEndian(dict.size(), length_bytes, header);
  return header + dict;
}

}  // namespace attention::files
