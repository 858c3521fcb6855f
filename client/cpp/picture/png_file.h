// PNG files.
#ifndef CLIENT_CPP_PICTURE_PNG_FILE_H_
#define CLIENT_CPP_PICTURE_PNG_FILE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace attention::client {

// Pixels of `channels` bytes each, row-major: 3 are RGB, 4 RGBA.
struct PixelImage {
  int64_t width = 0;
  int64_t height = 0;
  int channels = 3;
  std::vector<uint8_t> bytes;
};

// The image as a PNG file of 8 bits per channel, sRGB.
absl::StatusOr<std::string> EncodePng(const PixelImage& image);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_PNG_FILE_H_
