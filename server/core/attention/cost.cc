#include "server/core/attention/cost.h"

#include <algorithm>

#include "server/core/attention/tiles.h"
#include "server/core/attention/whole_rows.h"
#include "server/core/saturating.h"

namespace attention::core {

int64_t AttentionMultiplyAdds(const AttentionShape& shape) {
  int64_t count = SaturatingMultiply(shape.batch, shape.num_heads);
  count = SaturatingMultiply(count, shape.query_len);
  count = SaturatingMultiply(count, shape.kv_len);
  return SaturatingMultiply(count,
                            SaturatingAdd(shape.head_dim, shape.value_dim));
}

template <typename T>
int64_t AttentionWorkspaceBytes(const AttentionInputs<T>& inputs,
                                const AttentionOptions& options,
                                const AttentionOutputs<T>& outputs) {
  const AttentionShape shape = ShapeOf(inputs);
  const bool top_k = static_cast<bool>(outputs.top_k_weights);
  const int64_t whole_rows = WholeRowWorkspaceBytes<T>(shape, top_k);
  if (outputs.matrix || top_k) return whole_rows;
  return std::max(whole_rows, TiledWorkspaceBytes<T>(
                                  shape, inputs.attend_mask || inputs.bias,
                                  options.dropout.has_value()));
}

template int64_t AttentionWorkspaceBytes<float>(const AttentionInputs<float>&,
                                                const AttentionOptions&,
                                                const AttentionOutputs<float>&);
template int64_t AttentionWorkspaceBytes<double>(
    const AttentionInputs<double>&, const AttentionOptions&,
    const AttentionOutputs<double>&);

}  // namespace attention::core
