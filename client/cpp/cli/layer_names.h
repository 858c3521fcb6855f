// What the tensors of one attention layer are called in a file, and how they
// lie there.
#ifndef CLIENT_CPP_CLI_LAYER_NAMES_H_
#define CLIENT_CPP_CLI_LAYER_NAMES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace attention::client {

enum class LayerForm {
  // query.weight, query.bias, key.weight and so on, of any layout; no biases
  // and no output projection if there are none. What `weights export` writes.
  kPlain,
  // GPT-2's: attn.c_attn, query, key and value side by side in [d, 3 * d], and
  // attn.c_proj; IN_OUT, with biases.
  kGpt2,
  // BERT's: attention.self.query, .key and .value, and attention.output.dense,
  // each [d, d]; OUT_IN, with biases.
  kBert,
};

// plain, gpt2, bert.
const std::map<std::string, LayerForm>& LayerFormWords();

// The number of a layer as it was typed. A usage error if it is absent where
// the form has layers, or given where it has none; 0 then.
absl::StatusOr<int64_t> LayerNumber(LayerForm form,
                                    const std::optional<int64_t>& typed);

// Names of one projection; empty: it has none.
struct ProjectionNames {
  std::string weight;
  std::string bias;
};

// Names of the four. In GPT-2's form query, key and value have the same ones.
struct LayerNames {
  ProjectionNames query;
  ProjectionNames key;
  ProjectionNames value;
  ProjectionNames output;
};

// Those of layer `layer` of a checkpoint whose names all start with `prefix`.
// kPlain has the prefix alone.
LayerNames NamesOf(LayerForm form, const std::string& prefix, int64_t layer);

// The prefixes that checkpoints of this form come with.
const std::vector<std::string>& UsualPrefixes(LayerForm form);

}  // namespace attention::client

#endif  // CLIENT_CPP_CLI_LAYER_NAMES_H_
