#include "tests/layer_cases/layer_case.h"

#include <sstream>

namespace attention::core {

const char* DtypeName(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return "FLOAT32";
    case Dtype::kFloat64:
      return "FLOAT64";
    case Dtype::kFloat16:
      return "FLOAT16";
    case Dtype::kBfloat16:
      return "BFLOAT16";
  }
  return "";
}

reference::Precision ComputePrecision(Dtype dtype) {
  return dtype == Dtype::kFloat64 ? reference::Float64Precision()
                                  : reference::Float32Precision();
}

std::optional<reference::Format> OutputFormat(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat16:
      return reference::Float16Format();
    case Dtype::kBfloat16:
      return reference::Bfloat16Format();
    default:
      return std::nullopt;
  }
}

std::string LayerCase::Describe() const {
  std::ostringstream text;
  text << DtypeName(dtype) << " batch " << problem.batch() << " heads "
       << problem.num_heads << "/" << problem.num_kv_heads << " query_len "
       << problem.query_len() << " kv_len " << problem.kv_len() << " head_dim "
       << problem.head_dim() << " value_dim " << problem.value_dim();
  if (problem.weights) text << ", weights";
  if (problem.weights && problem.weights->output) text << " with output";
  if (key_is_query) text << ", key is query";
  if (value_is_key) text << ", value is key";
  if (heads_side_by_side) text << ", heads side by side";
  if (problem.causal) text << ", causal";
  if (problem.window_left) text << ", left " << *problem.window_left;
  if (problem.window_right) text << ", right " << *problem.window_right;
  if (problem.alignment == reference::Alignment::kTopLeft) text << ", TOP_LEFT";
  if (problem.alignment == reference::Alignment::kBottomRight) {
    text << ", BOTTOM_RIGHT";
  }
  for (const int64_t offset : problem.query_offsets) text << ", at " << offset;
  for (const int64_t length : problem.key_lengths) text << ", keys " << length;
  if (problem.attend_mask) text << ", attend_mask";
  if (problem.bias) text << ", bias";
  if (problem.softmax_scale) text << ", scale " << *problem.softmax_scale;
  if (problem.softcap) text << ", softcap " << *problem.softcap;
  if (problem.dropout) {
    text << ", dropout " << problem.dropout->probability << " seed "
         << problem.dropout->seed;
  }
  if (stage) text << ", stage " << static_cast<int>(*stage);
  if (mean) text << ", mean";
  if (top_k) text << ", top_k " << *top_k;
  if (lse) text << ", lse";
  return text.str();
}

}  // namespace attention::core
