// The font of pictures.
#ifndef CLIENT_CPP_PICTURE_FONT_H_
#define CLIENT_CPP_PICTURE_FONT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace attention::client {

// DejaVu Sans, which is part of this program: text looks the same on every
// machine, with or without fonts. It has the letters of Europe, the Near East
// and the Caucasus, and many symbols, but not those of East Asia, for which
// boxes are drawn; letters are set one by one, neither joined nor reordered.
// Not thread-safe.
class Font {
 public:
  // Fails only if memory does.
  static absl::StatusOr<Font> Load();

  // How many pixels wide `text` is where an em is `size` pixels.
  double Width(absl::string_view text, int size) const;

  // `text` cut to at most `width` pixels, with an ellipsis in place of what
  // does not fit.
  std::string Fit(absl::string_view text, int size, double width) const;

  // Calls `blend` for every pixel that `text` touches, with how much of it is
  // covered, 0 to 255. The text's baseline starts at (x, y), y down, and runs
  // to the right, or upwards.
  void Draw(absl::string_view text, int size, double x, double y, bool upwards,
            const std::function<void(int64_t x, int64_t y, uint8_t covered)>&
                blend) const;

 private:
  struct Face;
  struct FaceDeleter {
    void operator()(Face* face) const;
  };
  explicit Font(std::unique_ptr<Face, FaceDeleter> face);
  std::unique_ptr<Face, FaceDeleter> face_;
};

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_FONT_H_
