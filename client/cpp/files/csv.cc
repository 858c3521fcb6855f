#include "client/cpp/files/csv.h"

#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "client/cpp/files/element_text.h"
#include "proto/error_text.h"

namespace attention::files {
namespace {

// Whether `word` is an element. A number beyond double is not: it would become
// infinity, which is written with letters.
bool ParseElement(absl::string_view word, double& element) {
  if (word == "true" || word == "false") {
    element = word == "true" ? 1 : 0;
    return true;
  }
  return absl::SimpleAtod(word, &element) &&
         (!std::isinf(element) ||
          word.find_first_of("iI") != absl::string_view::npos);
}

class CsvReader {
 public:
  CsvReader(const std::string& source, ElementType type,
            const ReadLimits& limits)
      : source_(source), limits_(limits) {
    array_.type = type;
  }

  absl::Status TakeLine(absl::string_view line) {
    // Spreadsheets write a byte order mark before the first.
    if (++line_number_ == 1) absl::ConsumePrefix(&line, "\xef\xbb\xbf");
    if (absl::StripAsciiWhitespace(line).empty()) return absl::OkStatus();
    int64_t cells = 0;
    for (const absl::string_view cell : absl::StrSplit(line, ',')) {
      const absl::string_view word = absl::StripAsciiWhitespace(cell);
      ++cells;
      double element = 0;
      const std::string problem =
          ParseElement(word, element)
              ? AppendElement(element, array_.type, array_.data)
              : absl::StrCat("is ", Quoted(word), "; expected a number");
      if (!problem.empty()) {
        return Error(absl::StrCat("column ", cells, " ", problem));
      }
    }
    if (rows_++ == 0) columns_ = cells;
    if (cells != columns_) {
      return Error(absl::StrCat("has ", cells,
                                " columns but the first row has ", columns_));
    }
    return CheckLimit(source_, "its array",
                      static_cast<int64_t>(array_.data.size()), limits_);
  }

  absl::StatusOr<Array> Finish() {
    if (rows_ == 0) return FileError(source_, "is empty; expected numbers");
    array_.shape = {rows_, columns_};
    return std::move(array_);
  }

 private:
  absl::Status Error(absl::string_view problem) const {
    return FileError(absl::StrCat(source_, ":", line_number_), problem);
  }

  const std::string& source_;
  const ReadLimits& limits_;
  Array array_;
  int64_t line_number_ = 0;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
};

}  // namespace

absl::StatusOr<Array> ReadCsv(const ByteSource& source, ElementType type,
                              const ReadLimits& limits) {
  CsvReader reader(source.name(), type, limits);
  BlockReader blocks(source);
  std::string line;  // what of it came so far
  for (absl::string_view block = blocks.Next(); !block.empty();
       block = blocks.Next()) {
    for (size_t end = block.find('\n'); end != absl::string_view::npos;
         end = block.find('\n')) {
      absl::StrAppend(&line, block.substr(0, end));
      absl::Status status = reader.TakeLine(line);
      if (!status.ok()) return status;
      line.clear();
      block.remove_prefix(end + 1);
    }
    absl::StrAppend(&line, block);
  }
  if (!blocks.status().ok()) return blocks.status();
  absl::Status status = reader.TakeLine(line);
  if (!status.ok()) return status;
  return reader.Finish();
}

void WriteCsv(const ArrayView& array, std::ostream& out) {
  int64_t next = 0;
  for (int64_t row = 0; row < array.shape[0]; ++row) {
    for (int64_t column = 0; column < array.shape[1]; ++column) {
      out << (column > 0 ? "," : "") << ElementText(array, next++);
    }
    out << '\n';
  }
}

}  // namespace attention::files
