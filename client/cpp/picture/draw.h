// A picture of attention as a file.
#ifndef CLIENT_CPP_PICTURE_DRAW_H_
#define CLIENT_CPP_PICTURE_DRAW_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "client/cpp/picture/attention_picture.h"

namespace attention::client {

enum class PictureFormat { kPng, kSvg };

// Draws `picture`, at most `width` pixels wide (0: as suits it), on white:
// panels side by side, query down and key across, in the colours of ColorAt,
// with the labels, a bar of the scale with round numbers, and each element as a
// number where the cells are large enough. Excluded positions are hatched. The
// same picture makes the same bytes. See LayOut for its errors.
absl::StatusOr<std::string> DrawPicture(const AttentionPicture& picture,
                                        PictureFormat format, int64_t width);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_DRAW_H_
