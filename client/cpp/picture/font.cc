#include "client/cpp/picture/font.h"

#include <ft2build.h>
// FreeType's headers are named by macros of ft2build.h.
#include FT_FREETYPE_H

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "client/cpp/picture/unicode.h"

// The font's file, put in by embedded_font.cc.
extern "C" {
extern const unsigned char attention_font[];
extern const unsigned char attention_font_end[];
}

namespace attention::client {
namespace {

constexpr char kEllipsis[] = "\u2026";

// Unhinted, so that a letter's shape depends on nothing but its size.
constexpr FT_Int32 kLoadFlags = FT_LOAD_NO_HINTING | FT_LOAD_NO_BITMAP;

// FreeType's 16.16 and 26.6.
double FromFixed16(FT_Fixed value) {
  return static_cast<double>(value) / 65536;
}
FT_Pos ToFixed6(double value) { return std::lround(value * 64); }

}  // namespace

struct Font::Face {
  FT_Library library = nullptr;
  FT_Face face = nullptr;

  // Loads the glyph; null if it cannot be, which costs the text that letter.
  FT_GlyphSlot Load(char32_t character, FT_Int32 flags) const {
    return FT_Load_Char(face, character, flags) == 0 ? face->glyph : nullptr;
  }
};

void Font::FaceDeleter::operator()(Face* face) const {
  FT_Done_Face(face->face);
  FT_Done_FreeType(face->library);
  delete face;
}

Font::Font(std::unique_ptr<Face, FaceDeleter> face) : face_(std::move(face)) {}

absl::StatusOr<Font> Font::Load() {
  std::unique_ptr<Face, FaceDeleter> face(new Face);
  if (FT_Init_FreeType(&face->library) != 0 ||
      FT_New_Memory_Face(face->library, attention_font,
                         // Both ends of one array, from the assembler.
                         // NOLINTNEXTLINE(clang-analyzer-security.PointerSub)
                         attention_font_end - attention_font, 0,
                         &face->face) != 0) {
    return absl::InternalError("the font in this program cannot be read");
  }
  return Font(std::move(face));
}

double Font::Width(absl::string_view text, int size) const {
  FT_Set_Pixel_Sizes(face_->face, 0, size);
  FT_Set_Transform(face_->face, nullptr, nullptr);
  double width = 0;
  while (!text.empty()) {
    const FT_GlyphSlotRec_* const glyph =
        face_->Load(TakeCharacter(text), kLoadFlags);
    if (glyph != nullptr) width += FromFixed16(glyph->linearHoriAdvance);
  }
  return width;
}

std::string Font::Fit(absl::string_view text, int size, double width) const {
  if (Width(text, size) <= width) return std::string(text);
  std::string fitted;
  while (!text.empty()) {
    std::string longer = fitted;
    AppendCharacter(TakeCharacter(text), longer);
    if (Width(longer + kEllipsis, size) > width) break;
    fitted = std::move(longer);
  }
  return fitted + kEllipsis;
}

void Font::Draw(
    absl::string_view text, int size, double x, double y, bool upwards,
    const std::function<void(int64_t, int64_t, uint8_t)>& blend) const {
  FT_Set_Pixel_Sizes(face_->face, 0, size);
  constexpr FT_Fixed kOne = 0x10000;
  FT_Matrix rotation =
      upwards ? FT_Matrix{0, -kOne, kOne, 0} : FT_Matrix{kOne, 0, 0, kOne};
  while (!text.empty()) {
    // The place on the canvas, in FreeType's coordinates: y up.
    FT_Vector place = {ToFixed6(x), ToFixed6(-y)};
    FT_Set_Transform(face_->face, &rotation, &place);
    const FT_GlyphSlotRec_* const glyph =
        face_->Load(TakeCharacter(text), kLoadFlags | FT_LOAD_RENDER);
    if (glyph == nullptr) continue;
    const FT_Bitmap& bitmap = glyph->bitmap;
    for (unsigned row = 0; row < bitmap.rows; ++row) {
      for (unsigned column = 0; column < bitmap.width; ++column) {
        const unsigned char covered =
            bitmap.buffer[static_cast<ptrdiff_t>(row) * bitmap.pitch + column];
        if (covered > 0) {
          blend(int64_t{glyph->bitmap_left} + column,
                int64_t{row} - glyph->bitmap_top, covered);
        }
      }
    }
    (upwards ? y : x) +=
        (upwards ? -1 : 1) * FromFixed16(glyph->linearHoriAdvance);
  }
  FT_Set_Transform(face_->face, nullptr, nullptr);
}

}  // namespace attention::client
