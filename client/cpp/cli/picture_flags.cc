#include "client/cpp/cli/picture_flags.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <map>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "attention/tensor.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/picture/draw.h"
#include "client/cpp/picture/unicode.h"
#include "proto/error_text.h"

namespace attention::client {
namespace {

constexpr int64_t kWidestPicture = 8192;
constexpr int kUsualColumns = 80;

// The axes of a matrix to show.
struct Axes {
  int64_t items = 1;
  int64_t heads = 1;
  int64_t query_len = 0;
  int64_t key_len = 0;
  bool has_items = false;
  bool has_heads = false;
};

absl::StatusOr<Axes> AxesOf(const MatrixToShow& shown) {
  const auto& shape = shown.matrix.shape();
  const std::vector<int64_t> axes(shape.begin(), shape.end());
  Axes result;
  const size_t rank = axes.size();
  if (rank < 2 || rank > 4) {
    return UsageError(absl::StrCat(
        shown.source, ": its shape is ", ShapeString(axes),
        "; a heat map takes [query_len, key_len], [heads, query_len, key_len] "
        "or [batch, heads, query_len, key_len]"));
  }
  result.query_len = axes[rank - 2];
  result.key_len = axes[rank - 1];
  result.has_items = rank == 4 || (rank == 3 && shown.is_mean);
  result.has_heads = rank == 4 || (rank == 3 && !shown.is_mean);
  if (result.has_items) result.items = axes[0];
  if (result.has_heads) result.heads = axes[rank - 3];
  for (const int64_t axis : axes) {
    if (axis == 0) {
      return UsageError(absl::StrCat(shown.source, ": its shape is ",
                                     ShapeString(axes),
                                     "; there is nothing to show"));
    }
  }
  return result;
}

// `all` if no index is given.
absl::StatusOr<std::vector<int64_t>> Chosen(const std::vector<int64_t>& indices,
                                            const char* flag, const char* what,
                                            int64_t all) {
  for (const int64_t index : indices) {
    if (index < 0 || index >= all) {
      return UsageError(absl::StrCat(
          flag, " ", index, ": there ",
          all == 1
              ? absl::StrCat("is one ", what, ", 0")
              : absl::StrCat("are ", all, " ", what, "s, 0 to ", all - 1)));
    }
  }
  if (!indices.empty()) return indices;
  std::vector<int64_t> every(static_cast<size_t>(all));
  for (int64_t i = 0; i < all; ++i) every[i] = i;
  return every;
}

absl::StatusOr<std::vector<std::string>> ReadLabels(const std::string& text) {
  std::vector<std::string> labels;
  if (!absl::StartsWith(text, "@")) {
    for (const absl::string_view word :
         absl::StrSplit(text, absl::ByAnyChar(" \t\n\r"), absl::SkipEmpty())) {
      labels.push_back(Printable(word));
    }
    return labels;
  }
  const absl::StatusOr<std::string> file = ReadFile(text.substr(1));
  if (!file.ok()) return file.status();
  for (const absl::string_view line :
       absl::StrSplit(absl::StripSuffix(*file, "\n"), '\n')) {
    labels.push_back(Printable(absl::StripSuffix(line, "\r")));
  }
  return labels;
}

// Labels for an axis of `length`: those of `text`, or positions.
absl::StatusOr<std::vector<std::string>> LabelsFor(const std::string& text,
                                                   const char* flag,
                                                   const char* axis,
                                                   int64_t length) {
  std::vector<std::string> labels;
  if (text.empty()) {
    for (int64_t i = 0; i < length; ++i) labels.push_back(absl::StrCat(i));
    return labels;
  }
  absl::StatusOr<std::vector<std::string>> read = ReadLabels(text);
  if (!read.ok()) return read.status();
  const auto count = static_cast<int64_t>(read->size());
  if (count != length) {
    return UsageError(absl::StrCat(
        flag, " has ", count, count == 1 ? " label" : " labels", " but ", axis,
        " is ", length, "; give one for each token",
        absl::StartsWith(text, "@") ? ", a line each"
                                    : ", or @FILE with a line for each"));
  }
  return read;
}

// The elements of one matrix, excluded positions as NaN.
std::vector<double> PanelElements(absl::Span<const double> elements) {
  std::vector<double> panel(elements.begin(), elements.end());
  std::replace(panel.begin(), panel.end(),
               -std::numeric_limits<double>::infinity(),
               std::numeric_limits<double>::quiet_NaN());
  return panel;
}

std::string PanelTitle(const Axes& axes, int64_t item, int64_t head) {
  const std::string of_item =
      axes.has_items && axes.items > 1 ? absl::StrCat("item ", item) : "";
  const std::string of_head =
      axes.has_heads && axes.heads > 1 ? absl::StrCat("head ", head) : "";
  return absl::StrCat(of_item, of_item.empty() || of_head.empty() ? "" : ", ",
                      of_head);
}

int TextColumns(const PictureFlags& flags) {
  if (flags.width > 0) return static_cast<int>(flags.width);
  winsize size = {};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    return size.ws_col;
  }
  int columns = 0;
  const char* const variable = std::getenv("COLUMNS");
  return variable != nullptr && absl::SimpleAtoi(variable, &columns) &&
                 columns > 0
             ? columns
             : kUsualColumns;
}

bool IsStandardOutput(const std::string& out) {
  return out.empty() || out == "-";
}

std::string PictureText(const AttentionPicture& picture,
                        const PictureFlags& flags) {
  const ColorMode mode = flags.color.value_or(DetectColorMode(
      std::getenv("NO_COLOR"), std::getenv("COLORTERM"), std::getenv("TERM"),
      IsStandardOutput(flags.out) && isatty(STDOUT_FILENO) == 1));
  return TerminalPicture(picture, mode, TextColumns(flags));
}

}  // namespace

std::vector<CLI::Option*> AddLabelFlags(CLI::App& command, LabelFlags& flags) {
  const auto add = [&](const std::string& name, std::string& value,
                       const std::string& description) {
    return command.add_option(name, value, description)
        ->type_name("WORDS|@FILE")
        ->group("Picture");
  };
  return {add("--labels", flags.labels,
              "of the tokens: words with blanks between them, or a file with a "
              "label on each line; absent: positions"),
          add("--key-labels", flags.key_labels,
              "of the keys, where they are not the queries")};
}

void AddPictureFlags(CLI::App& command, PictureFlags& flags) {
  constexpr char kGroup[] = "Picture";
  AddLabelFlags(command, flags.labels);
  command
      .add_option("--head", flags.heads,
                  "heads to show, counted from 0: 0,3; absent: all")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->group(kGroup);
  command
      .add_option("--item", flags.item,
                  "batch item to show, counted from 0; absent: all")
      ->group(kGroup);
  command
      .add_option("--title", flags.title,
                  "above the picture; empty: none; absent: what is shown")
      ->group(kGroup);
  CLI::Option* color_scale =
      AddWordOption(
          command, "--color-scale", flags.color_scale,
          "one for all heads, or for each its own; absent: shared",
          std::map<std::string, ColorScale>{{"shared", ColorScale::kShared},
                                            {"own", ColorScale::kOwn}})
          ->group(kGroup);
  command
      .add_option("--color-max", flags.color_max,
                  "where the scale ends: larger numbers have its last colour, "
                  "so that small ones can be told apart; absent: at the "
                  "largest")
      ->check(AboveZero())
      ->excludes(color_scale)
      ->group(kGroup);
  command
      .add_option("--out", flags.out,
                  "picture to write; absent: text to the terminal")
      ->type_name("FILE.png|FILE.svg|FILE.txt|-")
      ->group(kGroup);
  AddWordOption(
      command, "--format", flags.format, "absent: by the ending of --out",
      std::map<std::string, OutputFormat>{{"png", OutputFormat::kPng},
                                          {"svg", OutputFormat::kSvg},
                                          {"text", OutputFormat::kText}})
      ->group(kGroup);
  command
      .add_option("--width", flags.width,
                  "at most so many pixels, or columns of text; absent: 1200, "
                  "or up to 4096 where cells would be less than a pixel; the "
                  "terminal's columns. Where there is no room for a matrix, a "
                  "cell is the largest of a block")
      ->check(CLI::Range(int64_t{1}, kWidestPicture))
      ->group(kGroup);
  AddWordOption(
      command, "--color", flags.color,
      "of text; absent: what the terminal can show",
      std::map<std::string, ColorMode>{{"none", ColorMode::kPlain},
                                       {"256", ColorMode::k256},
                                       {"true", ColorMode::kTrueColor}})
      ->group(kGroup);
}

absl::StatusOr<AttentionPicture> MakePicture(const MatrixToShow& shown,
                                             const PictureFlags& flags) {
  const absl::StatusOr<Axes> axes = AxesOf(shown);
  if (!axes.ok()) return axes.status();
  std::vector<int64_t> wanted_items;
  if (flags.item.has_value()) wanted_items.push_back(*flags.item);
  const auto items = Chosen(wanted_items, "--item", "batch item", axes->items);
  if (!items.ok()) return items.status();
  const auto heads = Chosen(flags.heads, "--head", "head", axes->heads);
  if (!heads.ok()) return heads.status();

  AttentionPicture picture;
  picture.title = Printable(flags.title.value_or(shown.title));
  picture.is_scale_shared = flags.color_scale == ColorScale::kShared;
  picture.scale_end = flags.color_max;
  const LabelFlags& words = flags.labels;
  auto query_labels =
      LabelsFor(words.labels, "--labels", "query_len", axes->query_len);
  if (!query_labels.ok()) return query_labels.status();
  // Of self-attention, the labels of the queries are those of the keys.
  const bool are_shared =
      words.key_labels.empty() && axes->query_len == axes->key_len;
  auto key_labels = LabelsFor(are_shared ? words.labels : words.key_labels,
                              "--key-labels", "key_len", axes->key_len);
  if (!key_labels.ok()) return key_labels.status();
  picture.query_labels = *std::move(query_labels);
  picture.key_labels = *std::move(key_labels);

  const absl::StatusOr<std::vector<double>> elements =
      ReadDoubles(shown.matrix);
  if (!elements.ok()) {
    return UsageError(
        absl::StrCat(shown.source, ": ", elements.status().message()));
  }
  const int64_t size = axes->query_len * axes->key_len;
  for (const int64_t item : *items) {
    for (const int64_t head : *heads) {
      picture.panels.push_back(
          {PanelTitle(*axes, item, head),
           PanelElements(absl::MakeConstSpan(*elements).subspan(
               (item * axes->heads + head) * size, size))});
    }
  }
  return picture;
}

absl::Status WritePicture(const AttentionPicture& picture,
                          const PictureFlags& flags) {
  const absl::StatusOr<OutputFormat> format = FormatOf(flags);
  if (!format.ok()) return format.status();
  const std::string path = flags.out.empty() ? "-" : flags.out;
  if (*format == OutputFormat::kText) {
    return WriteFile(path, PictureText(picture, flags));
  }
  const absl::StatusOr<std::string> file = DrawPicture(
      picture,
      *format == OutputFormat::kPng ? PictureFormat::kPng : PictureFormat::kSvg,
      flags.width);
  if (absl::IsInvalidArgument(file.status())) {
    return UsageError(absl::StrCat("--width: ", file.status().message(),
                                   "; or show fewer with --head or --item"));
  }
  if (!file.ok()) return file.status();
  return WriteFile(path, *file);
}

absl::StatusOr<OutputFormat> FormatOf(const PictureFlags& flags) {
  const std::string lower = absl::AsciiStrToLower(flags.out);
  const bool is_terminal =
      IsStandardOutput(flags.out) && isatty(STDOUT_FILENO) == 1;
  if (flags.format.has_value()) {
    if (*flags.format == OutputFormat::kPng && is_terminal) {
      return UsageError(
          "--format png: the standard output is a terminal, which shows text; "
          "name a file with --out");
    }
    return *flags.format;
  }
  if (IsStandardOutput(flags.out) || absl::EndsWith(lower, ".txt")) {
    return OutputFormat::kText;
  }
  if (absl::EndsWith(lower, ".png")) return OutputFormat::kPng;
  if (absl::EndsWith(lower, ".svg")) return OutputFormat::kSvg;
  return UsageError(absl::StrCat(
      flags.out,
      ": the ending tells no format of pictures; name it .png, .svg or .txt, "
      "or give --format png|svg|text"));
}

}  // namespace attention::client
