// What attention takes, known from its shapes before anything is allocated.
#ifndef SERVER_CORE_ATTENTION_COST_H_
#define SERVER_CORE_ATTENTION_COST_H_

#include <cstdint>

#include "server/core/attention/shape.h"

namespace attention::core {

// Multiply-adds of scores and output, every position counted; saturating.
int64_t AttentionMultiplyAdds(const AttentionShape& shape);

// Bytes of Workspace one task of AttentionSteps<T> takes; saturating.
// REQUIRES: shape.num_kv_heads >= 1.
template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionShape& shape);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_COST_H_
