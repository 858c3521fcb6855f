// The flags of pictures, and from a matrix to the picture they mean.
#ifndef CLIENT_CPP_CLI_PICTURE_FLAGS_H_
#define CLIENT_CPP_CLI_PICTURE_FLAGS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "attention/v1/attention.pb.h"
#include "client/cpp/cli/heat_map.h"
#include "client/cpp/picture/attention_picture.h"
#include "command_line/cli_fwd.h"

namespace attention::client {

enum class OutputFormat { kPng, kSvg, kText };
enum class ColorScale { kShared, kOwn };

// Of `compute --heatmap` as well.
struct LabelFlags {
  std::string labels;      // words, or @FILE; empty: positions
  std::string key_labels;  // likewise; empty: those of the queries
};

struct PictureFlags {
  LabelFlags labels;
  std::vector<int64_t> heads;  // empty: all
  std::optional<int64_t> item;
  std::optional<std::string> title;
  ColorScale color_scale = ColorScale::kShared;
  std::optional<double> color_max;
  std::string out;  // file; empty: the standard output
  std::optional<OutputFormat> format;
  int64_t width = 0;  // pixels, or columns of text; 0: what suits
  std::optional<ColorMode> color;
};

// REQUIRES, of both: `flags` outlives `command`.
std::vector<CLI::Option*> AddLabelFlags(CLI::App& command, LabelFlags& flags);
void AddPictureFlags(CLI::App& command, PictureFlags& flags);

// What a picture is made of.
struct MatrixToShow {
  // [query_len, key_len], [heads, ..], [batch, heads, ..]; -inf is a position
  // that is excluded.
  v1::Tensor matrix;
  bool is_mean = false;  // rank 3 is [batch, query_len, key_len]
  std::string source;    // what an error calls the matrix
  std::string title;     // unless --title says otherwise
};

// The picture that `flags` ask for: heads and items chosen, and labelled.
// Reads the files of labels. Errors are usage errors.
absl::StatusOr<AttentionPicture> MakePicture(const MatrixToShow& shown,
                                             const PictureFlags& flags);

// Draws `picture` and writes it where `flags` say. Errors are usage errors.
absl::Status WritePicture(const AttentionPicture& picture,
                          const PictureFlags& flags);

// Of --format, --out and their endings; a usage error if they tell none. Costs
// nothing, so a wrong name is refused before anything is computed.
absl::StatusOr<OutputFormat> FormatOf(const PictureFlags& flags);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_PICTURE_FLAGS_H_
