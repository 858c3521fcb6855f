// One attention layer out of a checkpoint, and into one.
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "attention/tensor.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/layer_export.h"
#include "client/cpp/cli/layer_import.h"
#include "client/cpp/files/array_file.h"
#include "client/cpp/files/safetensors.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// Numbers that tell where they are: `first`, first + 1 and so on.
files::Array Counted(const std::vector<int64_t>& shape, double first,
                     files::ElementType type = files::ElementType::kFloat32) {
  files::Array array = {type, shape, {}};
  if (type == files::ElementType::kInt64) {
    for (int64_t i = 0; i < shape[0]; ++i) {
      array.data.append(reinterpret_cast<const char*>(&i), sizeof(i));
    }
    return array;
  }
  const int64_t bytes = *files::ByteCount(files::ElementSize(type), shape);
  for (int64_t i = 0; i < bytes / files::ElementSize(type); ++i) {
    files::AppendElement(first + static_cast<double>(i), type, array.data);
  }
  return array;
}

// A file of tensors in memory.
class Checkpoint {
 public:
  explicit Checkpoint(const std::map<std::string, files::Array>& arrays,
                      const files::Metadata& metadata = {})
      : source_("model", Bytes(arrays, metadata)),
        bundle_(files::OpenSafetensors(source_).value()) {}

  absl::StatusOr<v1::WeightSet> Import(const LayerImport& import) const {
    return ImportLayer(*bundle_, import, {});
  }

 private:
  static std::string Bytes(const std::map<std::string, files::Array>& arrays,
                           const files::Metadata& metadata) {
    std::vector<files::NamedArray> named;
    named.reserve(arrays.size());
    for (const auto& [name, array] : arrays) named.push_back({name, array});
    std::ostringstream out;
    files::WriteSafetensors(named, metadata, out);
    return out.str();
  }

  const files::MemorySource source_;
  const std::unique_ptr<files::ArrayBundle> bundle_;
};

std::map<std::string, files::Array> Gpt2(const std::string& prefix = "") {
  const std::string front = prefix + "h.1.attn.";
  return {{front + "c_attn.weight", Counted({2, 6}, 0)},
          {front + "c_attn.bias", Counted({6}, 20)},
          {front + "c_proj.weight", Counted({2, 2}, 30)},
          {front + "c_proj.bias", Counted({2}, 40)},
          {prefix + "h.0.attn.c_attn.weight", Counted({2, 6}, 100)}};
}

std::map<std::string, files::Array> Bert(const std::string& prefix = "") {
  const std::string front = prefix + "encoder.layer.3.attention.";
  std::map<std::string, files::Array> arrays;
  double first = 0;
  for (const char* module :
       {"self.query", "self.key", "self.value", "output.dense"}) {
    arrays[absl::StrCat(front, module, ".weight")] = Counted({4, 4}, first);
    arrays[absl::StrCat(front, module, ".bias")] = Counted({4}, first + 50);
    first += 100;
  }
  return arrays;
}

LayerImport ImportOf(LayerForm form, int64_t layer, int32_t heads) {
  LayerImport import;
  import.form = form;
  import.layer = layer;
  import.num_heads = heads;
  return import;
}

TEST(LayerImportTest, Gpt2IsCutIntoQueryKeyAndValue) {
  for (const std::string prefix : {"", "transformer."}) {
    const auto weights =
        Checkpoint(Gpt2(prefix)).Import(ImportOf(LayerForm::kGpt2, 1, 2));
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(weights->layout(), v1::LAYOUT_IN_OUT);
    EXPECT_EQ(weights->num_heads(), 2);
    EXPECT_THAT(weights->query().weight().shape(), ElementsAre(2, 2));
    EXPECT_THAT(ReadFloats(weights->query().weight()).value(),
                ElementsAre(0, 1, 6, 7));
    EXPECT_THAT(ReadFloats(weights->key().weight()).value(),
                ElementsAre(2, 3, 8, 9));
    EXPECT_THAT(ReadFloats(weights->value().weight()).value(),
                ElementsAre(4, 5, 10, 11));
    EXPECT_THAT(ReadFloats(weights->query().bias()).value(),
                ElementsAre(20, 21));
    EXPECT_THAT(ReadFloats(weights->value().bias()).value(),
                ElementsAre(24, 25));
    EXPECT_THAT(ReadFloats(weights->output().weight()).value(),
                ElementsAre(30, 31, 32, 33));
    EXPECT_THAT(ReadFloats(weights->output().bias()).value(),
                ElementsAre(40, 41));
  }
}

TEST(LayerImportTest, BertIsReadAsItIs) {
  for (const std::string prefix : {"", "bert."}) {
    const auto weights =
        Checkpoint(Bert(prefix)).Import(ImportOf(LayerForm::kBert, 3, 2));
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_EQ(weights->layout(), v1::LAYOUT_OUT_IN);
    EXPECT_EQ(ReadFloats(weights->key().weight())->at(0), 100);
    EXPECT_EQ(ReadFloats(weights->output().bias())->at(0), 350);
  }
  LayerImport with_prefix = ImportOf(LayerForm::kBert, 3, 2);
  with_prefix.prefix = "roberta.";
  EXPECT_TRUE(Checkpoint(Bert("roberta.")).Import(with_prefix).ok());
}

TEST(LayerImportTest, MismatchNamesTensorItsShapeAndTheWanted) {
  const auto refused = [](const std::map<std::string, files::Array>& arrays,
                          const LayerImport& import) {
    const absl::Status status = Checkpoint(arrays).Import(import).status();
    EXPECT_EQ(ExitCodeOf(status), kExitUsage) << status;
    return Message(status);
  };
  auto gpt2 = Gpt2();
  gpt2["h.1.attn.c_attn.weight"] = Counted({2, 5}, 0);
  EXPECT_THAT(refused(gpt2, ImportOf(LayerForm::kGpt2, 1, 2)),
              HasSubstr("model: tensor \"h.1.attn.c_attn.weight\" has shape "
                        "[2, 5]; expected [2, 3 * 2]"));
  gpt2 = Gpt2();
  gpt2["h.1.attn.c_attn.bias"] = Counted({2}, 0);
  EXPECT_THAT(refused(gpt2, ImportOf(LayerForm::kGpt2, 1, 2)),
              HasSubstr("c_attn.bias\" has shape [2]; expected [6]"));
  gpt2 = Gpt2();
  gpt2["h.1.attn.c_proj.weight"] = Counted({2, 3}, 0);
  EXPECT_THAT(refused(gpt2, ImportOf(LayerForm::kGpt2, 1, 2)),
              HasSubstr("c_proj.bias\" has shape [2]; expected [3]"));
  EXPECT_THAT(refused(Gpt2(), ImportOf(LayerForm::kGpt2, 7, 2)),
              HasSubstr("holds no array \"h.7.attn.c_attn.weight\"; it has"));
  EXPECT_THAT(refused(Gpt2(), ImportOf(LayerForm::kGpt2, 1, 5)),
              HasSubstr("has shape [2, 2]; expected an out that is a multiple "
                        "of 5, the heads"));
  auto bert = Bert();
  bert["encoder.layer.3.attention.self.key.weight"] = Counted({4, 3}, 0);
  EXPECT_THAT(refused(bert, ImportOf(LayerForm::kBert, 3, 2)),
              HasSubstr("self.key.weight\" has shape [4, 3]; expected [4, 4]"));
  bert = Bert();
  bert["encoder.layer.3.attention.self.value.bias"] =
      Counted({4}, 0, files::ElementType::kFloat16);
  EXPECT_THAT(refused(bert, ImportOf(LayerForm::kBert, 3, 2)),
              AllOf(HasSubstr("self.value.bias\" is float16 but"),
                    HasSubstr("--dtype")));
  bert["encoder.layer.3.attention.self.value.bias"] =
      Counted({4}, 0, files::ElementType::kInt64);
  EXPECT_THAT(refused(bert, ImportOf(LayerForm::kBert, 3, 2)),
              HasSubstr("is int64; expected float32"));
}

TEST(LayerImportTest, WhatTheFormSaysCannotBeContradicted) {
  LayerImport import = ImportOf(LayerForm::kGpt2, 1, 2);
  import.layout = v1::LAYOUT_OUT_IN;
  EXPECT_THAT(Message(Checkpoint(Gpt2()).Import(import).status()),
              HasSubstr("--layout is out-in, but this form is always in-out"));
  import = ImportOf(LayerForm::kGpt2, 1, 2);
  import.num_kv_heads = 1;
  EXPECT_THAT(Message(Checkpoint(Gpt2()).Import(import).status()),
              HasSubstr("--kv-heads is 1"));
  import = ImportOf(LayerForm::kGpt2, 1, 2);
  import.num_heads.reset();
  EXPECT_THAT(Message(Checkpoint(Gpt2()).Import(import).status()),
              HasSubstr("does not say how many heads it has; add --heads"));
}

TEST(LayerImportTest, NamesOfOnesOwnAreRead) {
  // Grouped heads: 2 for the query, 1 for key and value.
  const Checkpoint checkpoint({{"q", Counted({4, 3}, 0)},
                               {"q_bias", Counted({4}, 20)},
                               {"k", Counted({2, 3}, 30)},
                               {"v", Counted({3, 5}, 40)},
                               {"o", Counted({7, 6}, 60)}});
  LayerImport import = ImportOf(LayerForm::kPlain, 0, 2);
  import.num_kv_heads = 1;
  import.layout = v1::LAYOUT_OUT_IN;
  import.names = {{"q", "q_bias"}, {"k", ""}, {"v", ""}, { "o", "" }};
  const auto weights = checkpoint.Import(import);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->num_kv_heads(), 1);
  EXPECT_TRUE(weights->query().has_bias());
  EXPECT_FALSE(weights->key().has_bias());
  EXPECT_THAT(weights->output().weight().shape(), ElementsAre(7, 6));

  import.names.key.weight = "v";
  EXPECT_THAT(Message(checkpoint.Import(import).status()),
              HasSubstr("tensor \"v\" has shape [3, 5]; expected [2, 5], "
                        "key/value heads times"));
  import.names.key.weight = "k";
  import.names.output.weight = "q";
  EXPECT_THAT(Message(checkpoint.Import(import).status()),
              HasSubstr("tensor \"q\" has shape [4, 3]; expected [4, 6], heads "
                        "times the columns of a value head"));
  import.layout = v1::LAYOUT_UNSPECIFIED;
  EXPECT_THAT(Message(checkpoint.Import(import).status()),
              HasSubstr("does not say how its weights are stored; add "
                        "--layout"));
}

TEST(LayerImportTest, DtypeRounds) {
  LayerImport import = ImportOf(LayerForm::kGpt2, 1, 2);
  import.dtype = v1::DATA_TYPE_BFLOAT16;
  const auto weights = Checkpoint(Gpt2()).Import(import);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ(weights->query().weight().dtype(), v1::DATA_TYPE_BFLOAT16);
  EXPECT_EQ(weights->output().bias().dtype(), v1::DATA_TYPE_BFLOAT16);
}

// What an export of `weights` holds, as arrays by name.
Checkpoint Exported(const v1::WeightSet& weights, LayerForm form,
                    const std::string& prefix = "") {
  const absl::StatusOr<LayerFile> file =
      ExportLayer({{}, weights}, {form, 1, prefix});
  EXPECT_TRUE(file.ok()) << file.status();
  std::map<std::string, files::Array> arrays;
  for (const NamedOutput& tensor : file->tensors) {
    arrays[tensor.name] = tensor.array;
  }
  return Checkpoint(arrays, file->metadata);
}

TEST(LayerExportTest, ImportReadsBackTheSame) {
  const v1::WeightSet gpt2 =
      Checkpoint(Gpt2()).Import(ImportOf(LayerForm::kGpt2, 1, 2)).value();
  const v1::WeightSet bert =
      Checkpoint(Bert()).Import(ImportOf(LayerForm::kBert, 3, 2)).value();
  for (const v1::WeightSet& weights : {gpt2, bert}) {
    // Plain says everything itself; the others turn the layout and back.
    EXPECT_EQ(Exported(weights, LayerForm::kPlain)
                  .Import({})
                  .value()
                  .SerializeAsString(),
              weights.SerializeAsString());
    for (const LayerForm form : {LayerForm::kGpt2, LayerForm::kBert}) {
      const LayerForm own = weights.layout() == v1::LAYOUT_IN_OUT
                                ? LayerForm::kGpt2
                                : LayerForm::kBert;
      const v1::WeightSet there =
          Exported(weights, form).Import(ImportOf(form, 1, 2)).value();
      const v1::WeightSet back =
          Exported(there, own).Import(ImportOf(own, 1, 2)).value();
      EXPECT_EQ(back.SerializeAsString(), weights.SerializeAsString());
      EXPECT_EQ(there.layout() == weights.layout(), form == own);
    }
  }
}

TEST(LayerExportTest, Gpt2IsBitForBitWhatCameIn) {
  const v1::WeightSet weights =
      Checkpoint(Gpt2()).Import(ImportOf(LayerForm::kGpt2, 1, 2)).value();
  const absl::StatusOr<LayerFile> file =
      ExportLayer({{}, weights}, {LayerForm::kGpt2, 1, "transformer."});
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::string> names;
  const auto wanted = Gpt2("transformer.");
  for (const NamedOutput& tensor : file->tensors) {
    names.push_back(tensor.name);
    ASSERT_EQ(wanted.count(tensor.name), 1u) << tensor.name;
    EXPECT_EQ(tensor.array.shape, wanted.at(tensor.name).shape);
    EXPECT_TRUE(tensor.array.data == wanted.at(tensor.name).data);
  }
  EXPECT_THAT(names, UnorderedElementsAre("transformer.h.1.attn.c_attn.weight",
                                          "transformer.h.1.attn.c_attn.bias",
                                          "transformer.h.1.attn.c_proj.weight",
                                          "transformer.h.1.attn.c_proj.bias"));
  EXPECT_EQ(file->metadata.at("format"), "pt");
}

TEST(LayerExportTest, WhatAFormCannotHoldIsRefused) {
  const auto refused = [](const v1::WeightSet& weights) {
    const absl::Status status =
        ExportLayer({{}, weights}, {LayerForm::kBert, 0, ""}).status();
    EXPECT_EQ(ExitCodeOf(status), kExitUsage);
    return Message(status);
  };
  const v1::WeightSet weights =
      Checkpoint(Bert()).Import(ImportOf(LayerForm::kBert, 3, 2)).value();
  v1::WeightSet changed = weights;
  changed.clear_output();
  EXPECT_THAT(refused(changed),
              HasSubstr("has no output.weight, which this form has; use "
                        "--preset plain"));
  changed = weights;
  changed.mutable_key()->clear_bias();
  EXPECT_THAT(refused(changed), HasSubstr("has no key.bias"));
  changed = weights;
  changed.set_num_kv_heads(1);
  EXPECT_THAT(refused(changed), HasSubstr("2 heads and 1 key/value heads"));
  changed = weights;
  *changed.mutable_value()->mutable_weight() =
      MakeTensor(std::vector<float>(8), {2, 4});
  EXPECT_THAT(refused(changed),
              HasSubstr("value.weight has shape [2, 4]; expected [4, 4]"));
}

}  // namespace
}  // namespace attention::client
