#include "server/weights/give_back_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

namespace attention::weights {
namespace {

void GiveBack(StoredProjection& projection) {
  GiveBackPages(projection.weight.data);
  if (projection.bias.has_value()) GiveBackPages(projection.bias->data);
}

}  // namespace

// The whole pages that `data` lies on; what shares a page with others stays.
void GiveBackPages(std::string& data) {
  static const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto first = reinterpret_cast<uintptr_t>(data.data());
  const uintptr_t begin = (first + page - 1) / page * page;
  const uintptr_t end = (first + data.size()) / page * page;
  if (begin >= end) return;
  // A failure costs memory until the allocator uses it again, and nothing else.
  madvise(data.data() + (begin - first), end - begin, MADV_DONTNEED);
}

void GiveBackPages(WeightSetContents& contents) {
  GiveBack(contents.query);
  GiveBack(contents.key);
  GiveBack(contents.value);
  if (contents.output.has_value()) GiveBack(*contents.output);
}

}  // namespace attention::weights
