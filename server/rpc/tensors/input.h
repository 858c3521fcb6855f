// Tensors of a request, made readable by a step.
#ifndef SERVER_RPC_TENSORS_INPUT_H_
#define SERVER_RPC_TENSORS_INPUT_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "proto/codec.h"
#include "proto/split_message.h"
#include "server/core/pool/compute_pool.h"

namespace attention::rpc {

// Uninitialised, and not null even if empty: a view without data is absent.
template <typename T>
std::unique_ptr<T[]> NewArray(int64_t count) {
  return std::unique_ptr<T[]>(new T[static_cast<size_t>(count)]);
}

// Which elements of a tensor are read: of each run of `run` elements the first
// `read[item]`, where an item is `runs_per_item` runs. All if `read` is empty.
struct ReadPart {
  int64_t run = 0;
  int64_t runs_per_item = 1;
  std::vector<int64_t> read;
};

// How the data of a tensor gets from where it was received to where its view
// says it is; nothing if it did not come as data.
struct Gather {
  const ScatteredBytes* from = nullptr;
  char* to = nullptr;
};

// An input in T: in place, or in a buffer. `data` holds checked elements once
// `step` has run, as far as they are read; it is never null.
template <typename T>
struct Input {
  const T* data = nullptr;
  std::unique_ptr<T[]> buffer;
  core::Step step;
};

// `step` gathers, and refuses what TensorView::Read does. Refers to `tensor`,
// to the message behind it, and to what `gather` points to. Throws
// std::bad_alloc. T is float or double.
template <typename T>
Input<T> DecodeFloats(const TensorView& tensor, Gather gather,
                      TensorView::Accept accept, ReadPart part);

// 0 or 1 for each element. REQUIRES: BOOL.
Input<uint8_t> DecodeMask(const TensorView& tensor, Gather gather);

}  // namespace attention::rpc

#endif  // SERVER_RPC_TENSORS_INPUT_H_
