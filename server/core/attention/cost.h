// What attention takes, known from its shapes before anything is allocated.
#ifndef SERVER_CORE_ATTENTION_COST_H_
#define SERVER_CORE_ATTENTION_COST_H_

#include <cstdint>

#include "server/core/attention/arguments.h"
#include "server/core/attention/shape.h"

namespace attention::core {

// Multiply-adds of scores and output, every position counted; saturating.
int64_t AttentionMultiplyAdds(const AttentionShape& shape);

// Bytes of Workspace a task of AttentionSteps takes at most; saturating. Reads
// shapes, and which of the views are there.
// REQUIRES: inputs.key.shape[kHead] >= 1.
template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionInputs<T>& inputs,
                                const AttentionOptions& options,
                                const AttentionOutputs<T>& outputs);

}  // namespace attention::core

#endif  // SERVER_CORE_ATTENTION_COST_H_
