#include "client/cpp/cli/shown_attention.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "attention/tensor.h"

namespace attention::client {
namespace {

using Options = v1::AttentionMatrixOptions;

constexpr double kExcluded = -std::numeric_limits<double>::infinity();

bool CanExclude(const v1::ComputeAttentionRequest& request) {
  return request.causal() || request.has_window_left() ||
         request.has_window_right() || request.key_lengths_size() > 0 ||
         request.has_attend_mask() || request.has_bias();
}

std::string TitleOf(const v1::ComputeAttentionRequest& request,
                    const v1::ComputeAttentionResponse& response) {
  std::string title;
  switch (request.attention_matrix().stage()) {
    case Options::STAGE_SCORES:
      title = "Scores";
      break;
    case Options::STAGE_SOFTCAPPED:
      title = "Scores after softcap";
      break;
    case Options::STAGE_BIASED:
      title = "Scores after bias";
      break;
    default:
      title = "Attention weights";
  }
  if (request.attention_matrix().heads() == Options::HEADS_MEAN) {
    title += ", mean of the heads";
  }
  // Weights of the request have no name.
  if (!response.weight_set_used().name().empty()) {
    absl::StrAppend(&title, ", ", response.weight_set_used().name(), "@",
                    response.weight_set_used().version());
  }
  return title + (request.causal() ? ", causal" : "");
}

// The biased scores, per head.
absl::StatusOr<std::vector<double>> BiasedScores(
    v1::ComputeAttentionRequest request,
    const v1::ComputeAttentionResponse& response,
    const Connection& connection) {
  request.mutable_attention_matrix()->set_stage(Options::STAGE_BIASED);
  request.mutable_attention_matrix()->set_heads(Options::HEADS_PER_HEAD);
  request.clear_dropout();  // comes after them
  request.clear_want_lse();
  if (request.has_weight_set()) {
    // Whatever has become the latest since.
    request.mutable_weight_set()->set_version(
        response.weight_set_used().version());
  }
  const auto biased =
      connection.client.ComputeAttention(request, connection.Options());
  if (!biased.ok()) return biased.status();
  return ReadDoubles(biased->attention_matrix());
}

// Puts kExcluded into `weights` wherever `biased` has it: in all heads, if the
// weights are their mean. `size` is that of a matrix.
void MarkExcluded(const std::vector<double>& biased, size_t heads, size_t size,
                  std::vector<double>& weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    const size_t first = i / size * heads * size + i % size;
    bool is_excluded = true;
    for (size_t head = 0; head < heads; ++head) {
      is_excluded &= biased[first + head * size] == kExcluded;
    }
    if (is_excluded) weights[i] = kExcluded;
  }
}

}  // namespace

void RequestMatrix(bool mean, v1::ComputeAttentionRequest& request) {
  Options& matrix = *request.mutable_attention_matrix();
  if (matrix.stage() == Options::STAGE_UNSPECIFIED) {
    matrix.set_stage(Options::STAGE_ATTENTION_WEIGHTS);
  }
  if (mean) matrix.set_heads(Options::HEADS_MEAN);
}

absl::StatusOr<MatrixToShow> ShowAttention(
    const v1::ComputeAttentionRequest& request,
    const v1::ComputeAttentionResponse& response,
    const Connection& connection) {
  const v1::Tensor& matrix = response.attention_matrix();
  const bool is_mean =
      request.attention_matrix().heads() == Options::HEADS_MEAN;
  MatrixToShow shown = {matrix, is_mean, "attention_matrix",
                        TitleOf(request, response)};
  // Scores are there for every position; those after bias are marked already.
  if (request.attention_matrix().stage() != Options::STAGE_ATTENTION_WEIGHTS ||
      !CanExclude(request)) {
    return shown;
  }
  absl::StatusOr<std::vector<double>> weights = ReadDoubles(matrix);
  if (!weights.ok()) return weights.status();
  if (weights->empty()) return shown;
  const auto biased = BiasedScores(request, response, connection);
  if (!biased.ok()) return biased.status();
  if (biased->size() % weights->size() != 0 || matrix.shape_size() < 2) {
    return absl::DataLossError("the biased scores do not fit the weights");
  }
  const auto size = static_cast<size_t>(matrix.shape(matrix.shape_size() - 2) *
                                        matrix.shape(matrix.shape_size() - 1));
  MarkExcluded(*biased, biased->size() / weights->size(), size, *weights);
  const std::vector<int64_t> shape(matrix.shape().begin(),
                                   matrix.shape().end());
  shown.matrix = MakeTensor(*weights, shape);
  return shown;
}

}  // namespace attention::client
