// Colours of pictures.
#ifndef CLIENT_CPP_PICTURE_COLOR_H_
#define CLIENT_CPP_PICTURE_COLOR_H_

#include <cstdint>

namespace attention::client {

// sRGB.
struct Rgb {
  uint8_t red;
  uint8_t green;
  uint8_t blue;

  friend bool operator==(const Rgb&, const Rgb&) = default;
};

// From dark purple (level 0) over teal to yellow (level 1), through the 256
// colours of viridis: lightness rises evenly, so the order can be seen without
// colour vision and in a print without colour. Never grey, which is what is
// excluded. Levels beyond [0, 1] have the colour of the nearer end.
//
// Source: viridis by N. Smith, S. van der Walt and E. Firing, in matplotlib's
// _cm_listed.py, released under CC0.
Rgb ColorAt(double level);

// Black or white: the one that is easier to read on `background`.
Rgb TextColorOn(const Rgb& background);

}  // namespace attention::client

#endif  // CLIENT_CPP_PICTURE_COLOR_H_
