#include "server/weights/catalog.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/weights/catalogs.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;

class CatalogTest : public ::testing::Test {
 protected:
  absl::StatusOr<std::shared_ptr<const WeightSetVersion>> Find(
      const std::string& name, const Which& which = Latest{}) const {
    return catalog_->Find(name, which);
  }

  const std::unique_ptr<Catalog> catalog_ = OpenCatalog(NewMemoryStore());
};

TEST_F(CatalogTest, VersionsCountUpFromOneForEachName) {
  EXPECT_EQ(Append(*catalog_, "a"), 1);
  EXPECT_EQ(Append(*catalog_, "a"), 2);
  EXPECT_EQ(Append(*catalog_, "b"), 1);
  EXPECT_EQ(Append(*catalog_, "a"), 3);
}

TEST_F(CatalogTest, VersionsAreFoundByNumberLabelAndAsTheLatest) {
  SetRequest request = RequestFor("a", 1);
  request.labels = {"stable", "old"};
  Append(*catalog_, std::move(request));
  Append(*catalog_, "a", 2);
  EXPECT_EQ(NumberOf(*catalog_, "a", Latest{}), 2);
  EXPECT_EQ(NumberOf(*catalog_, "a", int64_t{1}), 1);
  EXPECT_EQ(NumberOf(*catalog_, "a", "stable"), 1);
  EXPECT_THAT(catalog_->Describe("a", int64_t{1})->labels,
              ElementsAre("old", "stable"));
  EXPECT_THAT(catalog_->Describe("a", Latest{})->labels, IsEmpty());
}

TEST_F(CatalogTest, WhatWasSetIsWhatIsFound) {
  SetRequest request = RequestFor("a", 5);
  request.annotations = {{"epoch", "12"}};
  request.idempotency_key = "key";
  const WeightSetContents contents = request.contents;
  Append(*catalog_, std::move(request));
  const WeightSetVersion::Record& record = (*Find("a"))->record();
  EXPECT_EQ(record.name, "a");
  EXPECT_EQ(record.idempotency_key, "key");
  EXPECT_EQ(record.contents.key.weight.data, contents.key.weight.data);
  EXPECT_EQ(record.sha256, CanonicalSha256(contents));
  EXPECT_THAT(record.annotations, ElementsAre(testing::Pair("epoch", "12")));
  EXPECT_GT(record.create_time.time_since_epoch().count(), 0);
}

TEST_F(CatalogTest, UnknownNameIsNotFoundNamingWhatThereIs) {
  ExpectError(Find("a").status(), Code::kNotFound, "weight_set.name",
              "weight_set.name is \"a\"; there are no weight sets");
  for (const char letter : std::string("klmnopqrst")) {
    Append(*catalog_, std::string(1, letter));
  }
  ExpectError(
      Find("a").status(), Code::kNotFound, "weight_set.name",
      "weight_set.name is \"a\"; there are the weight sets \"k\", \"l\", "
      "\"m\", \"n\", \"o\", \"p\", \"q\", \"r\" and 2 more");
}

TEST_F(CatalogTest, UnknownVersionIsNotFoundNamingWhatThereIs) {
  Append(*catalog_, "a");
  Append(*catalog_, "a");
  ExpectError(Find("a", int64_t{3}).status(), Code::kNotFound,
              "weight_set.version",
              "weight_set.version is 3; \"a\" has the versions 1, 2");
  ExpectError(Find("a", int64_t{0}).status(), Code::kInvalidArgument,
              "weight_set.version",
              "weight_set.version is 0; expected at least 1");
}

TEST_F(CatalogTest, UnknownLabelIsNotFoundNamingWhatThereIs) {
  Append(*catalog_, "a");
  ExpectError(Find("a", "best").status(), Code::kNotFound, "weight_set.label",
              R"(weight_set.label is "best"; "a" has no labels)");
  ASSERT_TRUE(catalog_->SetLabel("a", "stable", 1, {}).ok());
  ExpectError(Find("a", "best").status(), Code::kNotFound, "weight_set.label",
              R"(weight_set.label is "best"; "a" has the labels "stable")");
}

TEST_F(CatalogTest, NamesAreChecked) {
  for (const std::string& name :
       {std::string("a"), std::string("0"), std::string("A-b_c.d/e"),
        std::string(128, 'n')}) {
    EXPECT_EQ(Append(*catalog_, name), 1) << name;
  }
  for (const std::string& name :
       {std::string(), std::string(".a"), std::string("/"), std::string("a b"),
        std::string("\xc3\xa4"), std::string("a\0b", 3), std::string("a\n"),
        std::string(129, 'n')}) {
    const absl::Status status = catalog_->Set(RequestFor(name)).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << name;
    EXPECT_EQ(ErrorField(status), "name");
    EXPECT_EQ(ErrorField(Find(name).status()), "weight_set.name");
    EXPECT_EQ(ErrorField(catalog_->Delete(name, {}, {}).status()), "name");
    EXPECT_EQ(ErrorField(catalog_->SetLabel(name, "x", 1, {}).status()),
              "name");
  }
  ExpectError(catalog_->Set(RequestFor("a b")).status(), Code::kInvalidArgument,
              "name",
              "name is \"a b\" (3 bytes); expected 1 to 128 letters, digits "
              "and \"._-/\", starting with a letter or a digit");
}

TEST_F(CatalogTest, LongNameFromAStrangerDoesNotFillTheMessage) {
  const absl::Status status =
      catalog_->Set(RequestFor(std::string(1 << 20, '\n'))).status();
  EXPECT_LT(status.message().size(), 500u);
}

TEST_F(CatalogTest, LabelsAreChecked) {
  SetRequest request = RequestFor("a");
  request.labels = {"x", "1x"};
  ExpectError(catalog_->Set(std::move(request)).status(),
              Code::kInvalidArgument, "labels[1]",
              "labels[1] is \"1x\" (2 bytes); expected 1 to 64 letters, digits "
              "and \"._-\", starting with a letter");
  Append(*catalog_, "a");
  for (const std::string& label : {std::string(), std::string("-x"),
                                   std::string("x/y"), std::string(65, 'l')}) {
    EXPECT_EQ(ErrorField(catalog_->SetLabel("a", label, 1, {}).status()),
              "label");
    EXPECT_EQ(ErrorField(Find("a", label).status()), "weight_set.label");
  }
  EXPECT_TRUE(catalog_->SetLabel("a", std::string(64, 'l'), 1, {}).ok());
  request = RequestFor("a");
  request.labels.assign(65, "x");
  ExpectError(catalog_->Set(std::move(request)).status(),
              Code::kInvalidArgument, "labels",
              "labels has 65 entries; expected at most 64");
}

TEST_F(CatalogTest, AnnotationsAndKeysAreChecked) {
  const auto refused = [&](auto change) {
    SetRequest request = RequestFor("a");
    change(request);
    const absl::Status status = catalog_->Set(std::move(request)).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    return ErrorField(status);
  };
  EXPECT_EQ(refused([](auto& r) { r.annotations[""] = "x"; }), "annotations");
  EXPECT_EQ(refused([](auto& r) { r.annotations[std::string(129, 'k')] = ""; }),
            "annotations");
  EXPECT_EQ(refused([](auto& r) { r.annotations["k"].assign(1025, 'v'); }),
            "annotations[\"k\"]");
  EXPECT_EQ(refused([](auto& r) {
              for (int i = 0; i < 65; ++i) {
                r.annotations[std::to_string(i)] = "";
              }
            }),
            "annotations");
  EXPECT_EQ(refused([](auto& r) { r.idempotency_key.assign(129, 'k'); }),
            "idempotency_key");
  EXPECT_EQ(refused([](auto& r) { r.expected_version = -1; }),
            "expected_version");
  SetRequest largest = RequestFor("a");
  largest.idempotency_key.assign(128, 'k');
  for (int i = 0; i < 64; ++i) {
    largest.annotations[std::to_string(i) + std::string(126, 'k')].assign(1024,
                                                                          'v');
  }
  EXPECT_EQ(Append(*catalog_, std::move(largest)), 1);
}

TEST_F(CatalogTest, RefusedWeightsLeaveNothingBehind) {
  SetRequest request = RequestFor("a");
  request.contents.num_heads = 3;
  EXPECT_EQ(ErrorField(catalog_->Set(std::move(request)).status()),
            "weights.query.weight.shape[1]");
  EXPECT_EQ(Find("a").status().code(), Code::kNotFound);
  EXPECT_EQ(Append(*catalog_, "a"), 1);
}

TEST_F(CatalogTest, ExpectedVersionMustBeTheLatest) {
  const auto append = [&](int64_t expected) {
    SetRequest request = RequestFor("a");
    request.expected_version = expected;
    return catalog_->Set(std::move(request)).status();
  };
  ExpectError(append(1), Code::kAborted, "expected_version",
              "expected_version is 1 but the latest version of \"a\" is none");
  EXPECT_TRUE(append(0).ok());
  ExpectError(append(0), Code::kAborted, "expected_version",
              "expected_version is 0 but the latest version of \"a\" is 1");
  EXPECT_TRUE(append(1).ok());
  EXPECT_EQ(append(1).code(), Code::kAborted);
  EXPECT_EQ(NumberOf(*catalog_, "a", Latest{}), 2);
}

TEST_F(CatalogTest, RepeatedKeyIsAnsweredLikeTheFirst) {
  SetRequest request = RequestFor("a", 1);
  request.idempotency_key = "key";
  request.expected_version = 0;
  request.labels = {"stable"};
  const auto first = catalog_->Set(request);
  ASSERT_TRUE(first.ok());
  Append(*catalog_, "a", 2);
  ASSERT_TRUE(catalog_->SetLabel("a", "stable", 2, {}).ok());
  const auto second = catalog_->Set(request);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(*first, *second);
  EXPECT_EQ(NumberOf(*catalog_, "a", Latest{}), 2);
  EXPECT_EQ(NumberOf(*catalog_, "a", "stable"), 2) << "labels stay";
}

TEST_F(CatalogTest, RepeatedKeyWithOtherContentsIsRefused) {
  SetRequest request = RequestFor("a", 1);
  request.idempotency_key = "key";
  Append(*catalog_, request);
  SetRequest other = RequestFor("a", 2);
  other.idempotency_key = "key";
  ExpectError(catalog_->Set(other).status(), Code::kInvalidArgument,
              "idempotency_key",
              "idempotency_key is \"key\", which appended version 1 of \"a\" "
              "with other weights; expected a key of its own for another "
              "request");
  request.annotations["k"] = "v";
  EXPECT_THAT(std::string(catalog_->Set(request).status().message()),
              HasSubstr("with other annotations"));
}

TEST_F(CatalogTest, KeysBelongToTheirNameAndVersion) {
  SetRequest request = RequestFor("a");
  request.idempotency_key = "key";
  Append(*catalog_, request);
  request.name = "b";
  EXPECT_EQ(Append(*catalog_, request), 1);
  request.name = "a";
  ASSERT_TRUE(catalog_->Delete("a", 1, {}).ok());
  EXPECT_EQ(Append(*catalog_, request), 2) << "forgotten with its version";
}

TEST_F(CatalogTest, LabelsMoveAndGo) {
  Append(*catalog_, "a");
  Append(*catalog_, "a");
  EXPECT_EQ((*catalog_->SetLabel("a", "x", 1, {}))->record().version, 1);
  EXPECT_EQ(NumberOf(*catalog_, "a", "x"), 1);
  EXPECT_TRUE(catalog_->SetLabel("a", "x", 2, {}).ok());
  EXPECT_EQ(NumberOf(*catalog_, "a", "x"), 2);
  EXPECT_TRUE(catalog_->SetLabel("a", "x", 2, {}).ok());
  EXPECT_EQ(*catalog_->SetLabel("a", "x", {}, {}), nullptr);
  EXPECT_EQ(Find("a", "x").status().code(), Code::kNotFound);
  ExpectError(catalog_->SetLabel("a", "x", {}, {}).status(), Code::kNotFound,
              "label", R"(label is "x"; "a" has no labels)");
}

TEST_F(CatalogTest, LabelsPointOnlyAtVersionsThereAre) {
  ExpectError(catalog_->SetLabel("a", "x", 1, {}).status(), Code::kNotFound,
              "name", "name is \"a\"; there are no weight sets");
  Append(*catalog_, "a");
  ExpectError(catalog_->SetLabel("a", "x", 2, {}).status(), Code::kNotFound,
              "version", "version is 2; \"a\" has the versions 1");
  EXPECT_EQ(ErrorField(catalog_->SetLabel("a", "x", 0, {}).status()),
            "version");
}

TEST_F(CatalogTest, LabelComparesWithWhereItPoints) {
  Append(*catalog_, "a");
  Append(*catalog_, "a");
  ExpectError(catalog_->SetLabel("a", "x", 1, 2).status(), Code::kAborted,
              "expected_version",
              "expected_version is 2 but the version label \"x\" of \"a\" "
              "points to is none");
  EXPECT_TRUE(catalog_->SetLabel("a", "x", 1, 0).ok());
  ExpectError(catalog_->SetLabel("a", "x", 2, 0).status(), Code::kAborted,
              "expected_version",
              "expected_version is 0 but the version label \"x\" of \"a\" "
              "points to is 1");
  EXPECT_TRUE(catalog_->SetLabel("a", "x", 2, 1).ok());
  EXPECT_EQ(catalog_->SetLabel("a", "x", {}, 1).status().code(),
            Code::kAborted);
  EXPECT_TRUE(catalog_->SetLabel("a", "x", {}, 2).ok());
}

TEST_F(CatalogTest, DeletedVersionIsGoneAndItsNumberIsNotReused) {
  Append(*catalog_, "a");
  Append(*catalog_, "a");
  EXPECT_EQ(*catalog_->Delete("a", 2, {}), 1);
  EXPECT_EQ(Find("a", int64_t{2}).status().code(), Code::kNotFound);
  EXPECT_EQ(NumberOf(*catalog_, "a", Latest{}), 1);
  EXPECT_EQ(Append(*catalog_, "a"), 3);
}

TEST_F(CatalogTest, DeletedSetIsGoneAndItsNumbersAreNotReused) {
  Append(*catalog_, "a");
  SetRequest request = RequestFor("a");
  request.labels = {"x"};
  Append(*catalog_, std::move(request));
  EXPECT_EQ(*catalog_->Delete("a", {}, {}), 2);
  EXPECT_EQ(Find("a").status().code(), Code::kNotFound);
  EXPECT_THAT(catalog_->List({})->versions, IsEmpty());
  ExpectError(catalog_->Delete("a", {}, {}).status(), Code::kNotFound, "name",
              "name is \"a\"; there are no weight sets");
  request = RequestFor("a");
  request.expected_version = 0;
  EXPECT_EQ(Append(*catalog_, std::move(request)), 3);
  EXPECT_EQ(Find("a", "x").status().code(), Code::kNotFound);
}

TEST_F(CatalogTest, LabelledVersionIsNotDeletedAlone) {
  Append(*catalog_, "a");
  ASSERT_TRUE(catalog_->SetLabel("a", "x", 1, {}).ok());
  ASSERT_TRUE(catalog_->SetLabel("a", "y", 1, {}).ok());
  ExpectError(catalog_->Delete("a", 1, {}).status(), Code::kFailedPrecondition,
              "version",
              "version is 1, which has the labels \"x\", \"y\"; move or "
              "remove them first");
  EXPECT_EQ(NumberOf(*catalog_, "a", "x"), 1);
  ASSERT_TRUE(catalog_->SetLabel("a", "x", {}, {}).ok());
  ASSERT_TRUE(catalog_->SetLabel("a", "y", {}, {}).ok());
  EXPECT_EQ(*catalog_->Delete("a", 1, {}), 1);
}

TEST_F(CatalogTest, DeleteChecksWhatItIsAsked) {
  Append(*catalog_, "a");
  ExpectError(catalog_->Delete("a", 2, {}).status(), Code::kNotFound, "version",
              "version is 2; \"a\" has the versions 1");
  EXPECT_EQ(ErrorField(catalog_->Delete("a", 0, {}).status()), "version");
  EXPECT_EQ(catalog_->Delete("a", {}, 2).status().code(), Code::kAborted);
  EXPECT_EQ(catalog_->Delete("a", 1, 0).status().code(), Code::kAborted);
  EXPECT_EQ(*catalog_->Delete("a", {}, 1), 1);
}

TEST_F(CatalogTest, HeldVersionOutlivesItsDeletion) {
  Append(*catalog_, "a", 3);
  const std::shared_ptr<const WeightSetVersion> held = *Find("a");
  ASSERT_TRUE(catalog_->Delete("a", {}, {}).ok());
  EXPECT_EQ(held->As<float>()->query.weight[1], 4);
  EXPECT_EQ(held->As<double>()->query.weight[1], 4);
}

WeightSetVersion::Record RecordFor(const std::string& name) {
  WeightSetVersion::Record record;
  record.name = name;
  record.contents = RequestFor(name).contents;
  return record;
}

TEST_F(CatalogTest, WhatCouldNotBeAppendedIsKnownBeforeItsContents) {
  Append(*catalog_, "a");
  WeightSetVersion::Record record = RecordFor("a");
  record.contents = {};
  EXPECT_TRUE(catalog_->CheckAppend(record, {}).ok());
  EXPECT_TRUE(catalog_->CheckAppend(record, {1, {}}).ok());
  ExpectError(catalog_->CheckAppend(record, {0, {}}), Code::kAborted,
              "expected_version",
              "expected_version is 0 but the latest version of \"a\" is 1");
  record.name = "new";
  EXPECT_TRUE(catalog_->CheckAppend(record, {0, {}}).ok());
  EXPECT_EQ(catalog_->CheckAppend(record, {1, {}}).code(), Code::kAborted);
  EXPECT_EQ(ErrorField(catalog_->CheckAppend(record, {0, {"9"}})), "labels[0]");
  record.name = "";
  EXPECT_EQ(ErrorField(catalog_->CheckAppend(record, {})), "name");
}

TEST_F(CatalogTest, RepetitionIsNotComparedBeforeItsContents) {
  SetRequest request = RequestFor("a");
  request.idempotency_key = "key";
  request.expected_version = 0;
  Append(*catalog_, std::move(request));
  WeightSetVersion::Record record = RecordFor("a");
  record.idempotency_key = "key";
  EXPECT_TRUE(catalog_->CheckAppend(record, {0, {}}).ok());
  record.idempotency_key = "other";
  EXPECT_EQ(catalog_->CheckAppend(record, {0, {}}).code(), Code::kAborted);
}

TEST_F(CatalogTest, VersionThatIsMadeAlreadyIsAppended) {
  auto made = WeightSetVersion::Make(RecordFor("a"));
  ASSERT_TRUE(made.ok());
  const auto version = catalog_->Append(*std::move(made), {0, {"prod"}});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_EQ((*version)->record().version, 1);
  EXPECT_EQ(NumberOf(*catalog_, "a", "prod"), 1);
  made = WeightSetVersion::Make(RecordFor("a"));
  EXPECT_EQ(catalog_->Append(*std::move(made), {0, {}}).status().code(),
            Code::kAborted);
}

}  // namespace
}  // namespace attention::weights
