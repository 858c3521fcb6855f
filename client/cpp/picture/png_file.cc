#include "client/cpp/picture/png_file.h"

#include <png.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace attention::client {

absl::StatusOr<std::string> EncodePng(const PixelImage& image) {
  png_image header = {};
  header.version = PNG_IMAGE_VERSION;
  header.width = static_cast<png_uint_32>(image.width);
  header.height = static_cast<png_uint_32>(image.height);
  // Areas of one colour and sharp edges take fewer bytes without filters, which
  // are for photographs.
  header.flags = PNG_IMAGE_FLAG_FAST;
  header.format = image.channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
  constexpr png_int_32 kPacked = 0;  // no gap between the rows
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(header);
  std::string file(size, '\0');
  if (png_image_write_to_memory(&header, file.data(), &size,
                                /*convert_to_8_bit=*/0, image.bytes.data(),
                                kPacked, /*colormap=*/nullptr) == 0) {
    return absl::InternalError(
        absl::StrCat("no PNG can be made: ", header.message));
  }
  file.resize(size);
  return file;
}

}  // namespace attention::client
