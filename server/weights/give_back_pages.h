// Memory of weights that nobody needs any more.
#ifndef SERVER_WEIGHTS_GIVE_BACK_PAGES_H_
#define SERVER_WEIGHTS_GIVE_BACK_PAGES_H_

#include <string>

#include "server/weights/contents.h"

namespace attention::weights {

// Gives the memory of all data back to the system, which an allocator may not
// do when it is freed (docs/adr/0008-tcmalloc.md); it takes some 50 ms for each
// GiB. The data are undefined afterwards, and only good to be freed.
void GiveBackPages(WeightSetContents& contents);

// The same of one string.
void GiveBackPages(std::string& data);

}  // namespace attention::weights

#endif  // SERVER_WEIGHTS_GIVE_BACK_PAGES_H_
