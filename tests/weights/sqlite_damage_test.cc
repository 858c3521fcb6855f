// What is damaged in the file is named and left out; the rest is served.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/weights/catalog.h"
#include "tests/weights/catalogs.h"
#include "tests/weights/sqlite_stores.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

struct Damage {
  const char* name;
  const char* sql;   // what happens to version 2 of "a"
  const char* says;  // part of what is said of it
};

std::ostream& operator<<(std::ostream& out, const Damage& damage) {
  return out << damage.name;
}

// Of RecordOf's tensors query.weight has 2 MiB: chunks at 0 and at 1 MiB.
constexpr int64_t kHeadDim = 512;

constexpr char kWrongSha256[] = "was stored with sha256";

const Damage kDamages[] = {
    {"FlippedBit",
     "UPDATE chunk SET data = CAST(x'01' || substr(data, 2) AS BLOB) "
     "WHERE version = 2 AND path = 'key.weight'",
     kWrongSha256},
    {"FirstChunkMissing",
     "DELETE FROM chunk "
     "WHERE version = 2 AND path = 'query.weight' AND byte_offset = 0",
     "after byte 0 of query.weight comes byte 1048576"},
    {"LastChunkMissing",
     "DELETE FROM chunk "
     "WHERE version = 2 AND path = 'query.weight' AND byte_offset > 0",
     "query.weight"},
    {"NoChunks", "DELETE FROM chunk WHERE version = 2", "query.weight"},
    {"ChunkCutShort",
     "UPDATE chunk SET data = substr(data, 1, length(data) - 1) "
     "WHERE version = 2 AND path = 'query.weight' AND byte_offset = 0",
     "after byte 1048575 of query.weight comes byte 1048576"},
    {"LastChunkTooLong",
     "UPDATE chunk SET data = CAST(data || x'00' AS BLOB) "
     "WHERE version = 2 AND path = 'query.weight' AND byte_offset > 0",
     "query.weight"},
    {"ChunkAtAnotherOffset",
     "UPDATE chunk SET byte_offset = 3 "
     "WHERE version = 2 AND path = 'query.weight' AND byte_offset > 0",
     "after byte 1048576 of query.weight comes byte 3"},
    {"OtherSha256",
     "UPDATE version SET sha256 = 'b' || substr(sha256, 2) WHERE version = 2 "
     "AND sha256 NOT LIKE 'b%'; "
     "UPDATE version SET sha256 = 'c' || substr(sha256, 2) WHERE version = 2",
     kWrongSha256},
    {"NoSha256", "UPDATE version SET sha256 = '' WHERE version = 2",
     "sha256 \"\""},
    {"BiasMissing",
     "DELETE FROM tensor WHERE version = 2 AND path = 'value.bias'",
     kWrongSha256},
    {"WeightMissing",
     "DELETE FROM tensor WHERE version = 2 AND path = 'value.weight'",
     "value.weight"},
    {"UnknownTensor",
     "UPDATE tensor SET path = 'value.wEight' "
     "WHERE version = 2 AND path = 'value.weight'",
     "value.wEight"},
    {"NegativeAxis",
     "UPDATE tensor SET first_axis = -512 "
     "WHERE version = 2 AND path = 'key.weight'",
     "key.weight"},
    {"HugeAxis",
     "UPDATE tensor SET first_axis = 4611686018427387904 "
     "WHERE version = 2 AND path = 'key.weight'",
     "key.weight"},
    {"AxisMissing",
     "UPDATE tensor SET second_axis = NULL "
     "WHERE version = 2 AND path = 'key.weight'",
     "key.weight"},
    {"UnknownDtype", "UPDATE version SET dtype = 9 WHERE version = 2",
     "dtype 9"},
    {"OtherDtype", "UPDATE version SET dtype = 3 WHERE version = 2",
     "weights."},
    {"UnknownLayout", "UPDATE version SET layout = 0 WHERE version = 2",
     "layout 0"},
    {"OtherLayout", "UPDATE version SET layout = 2 WHERE version = 2",
     "weights.query"},
    {"OtherHeads", "UPDATE version SET num_heads = 1 WHERE version = 2",
     "num_kv_heads"},
    {"NoHeads", "UPDATE version SET num_heads = 0 WHERE version = 2",
     "num_heads"},
};

class SqliteDamage : public ::testing::TestWithParam<Damage> {
 protected:
  SqliteDamage() {
    const std::unique_ptr<Store> store = OpenStoreAt(path_);
    AppendVersions(*store, "a", 3, kHeadDim);
    AppendVersions(*store, "b", 1);
    EXPECT_TRUE(store->MoveLabel(3, "a", "damaged", 2).ok());
    EXPECT_TRUE(store->MoveLabel(4, "a", "whole", 3).ok());
  }

  const ScratchFolder folder_;
  const std::string path_ = folder_ / "weights.db";
};

TEST_P(SqliteDamage, IsNamedAndTheRestIsServed) {
  ASSERT_THAT(LoadAt(path_).damaged, IsEmpty());
  RunSql(path_,
         absl::StrCat("PRAGMA foreign_keys = OFF; ", GetParam().sql, ";"));
  const StoreContents contents = LoadAt(path_);
  ASSERT_THAT(contents.damaged,
              ElementsAre(StartsWith("version 2 of \"a\": "),
                          "label \"damaged\" of \"a\", which points at "
                          "version 2"));
  EXPECT_THAT(contents.damaged[0], HasSubstr(GetParam().says));
  ASSERT_THAT(contents.sets, SizeIs(2));
  const StoredWeightSet& set = contents.sets[0];
  EXPECT_THAT(NumbersOf(set), ElementsAre(1, 3));
  EXPECT_EQ(set.last_version, 3);
  EXPECT_THAT(set.labels, ElementsAre(Pair("whole", 3)));
  ExpectSame(set.versions[1]->record(),
             VersionOf(RecordOf("a", 3, kHeadDim))->record());
  EXPECT_THAT(NumbersOf(contents.sets[1]), ElementsAre(1));
}

INSTANTIATE_TEST_SUITE_P(Each, SqliteDamage, ::testing::ValuesIn(kDamages),
                         [](const auto& kind) { return kind.param.name; });

class DamagedStore : public SqliteDamage {
 protected:
  DamagedStore() {
    RunSql(path_,
           "UPDATE chunk SET data = zeroblob(length(data)) WHERE "
           "version IN (2, 3) AND name = 'a' AND path = 'key.weight'");
  }

  std::unique_ptr<Catalog> Open() { return OpenCatalog(OpenStoreAt(path_)); }
};

TEST_F(DamagedStore, CatalogTellsWhatIsDamaged) {
  EXPECT_THAT(Open()->damaged(), SizeIs(4)) << "two versions and their labels";
}

TEST_F(DamagedStore, LatestVersionIsTheLatestThatIsWhole) {
  EXPECT_EQ(NumberOf(*Open(), "a", Latest{}), 1);
}

TEST_F(DamagedStore, DamagedNumberIsNotReused) {
  EXPECT_EQ(Append(*Open(), "a"), 4);
  const std::unique_ptr<Catalog> again = Open();
  EXPECT_EQ(NumberOf(*again, "a", Latest{}), 4);
  EXPECT_THAT(again->damaged(), SizeIs(4));
}

// Not even if the count of the name was lost with it.
TEST_F(DamagedStore, NumberOfARowThatIsThereIsNotReused) {
  RunSql(path_, "UPDATE weight_set SET last_version = 1");
  EXPECT_EQ(Append(*Open(), "a"), 4);
}

TEST_F(DamagedStore, LabelOfADamagedVersionCanBeMovedOn) {
  ASSERT_TRUE(Open()->SetLabel("a", "whole", 1, 0).ok());
  const std::unique_ptr<Catalog> catalog = Open();
  EXPECT_EQ(NumberOf(*catalog, "a", "whole"), 1);
  EXPECT_THAT(catalog->damaged(), SizeIs(3));
}

TEST_F(DamagedStore, DamagedVersionIsDeletedByItsNumber) {
  {
    const std::unique_ptr<Catalog> catalog = Open();
    for (const int64_t version : {2, 3}) {
      const absl::StatusOr<int32_t> deleted = catalog->Delete("a", version, {});
      ASSERT_TRUE(deleted.ok()) << deleted.status();
      EXPECT_EQ(*deleted, 1);
      EXPECT_EQ(catalog->Delete("a", version, {}).status().code(),
                absl::StatusCode::kNotFound);
    }
  }
  const std::unique_ptr<Catalog> again = Open();
  EXPECT_THAT(again->damaged(), IsEmpty());
  EXPECT_EQ(NumberOf(*again, "a", Latest{}), 1);
  EXPECT_EQ(Append(*again, "a"), 4);
}

TEST_F(DamagedStore, NameWithNothingButDamageCanBeDeleted) {
  RunSql(path_, "DELETE FROM chunk WHERE name = 'a'");
  const absl::Status missing = Open()->Delete("a", 9, {}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.message()), EndsWith("weight sets \"b\""));
  EXPECT_EQ(Open()->Delete("a", {}, {}).value_or(0), 3);
  const std::unique_ptr<Catalog> catalog = Open();
  EXPECT_THAT(catalog->damaged(), IsEmpty());
  EXPECT_EQ(catalog->Delete("a", {}, {}).status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(DamagedStore, DeletingTheNameRemovesWhatIsDamaged) {
  const absl::StatusOr<int32_t> deleted = Open()->Delete("a", {}, {});
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(*deleted, 3);
  const std::unique_ptr<Catalog> catalog = Open();
  EXPECT_THAT(catalog->damaged(), IsEmpty());
  EXPECT_EQ(NumberOf(*catalog, "b", Latest{}), 1);
  EXPECT_EQ(Append(*catalog, "a"), 4);
}

TEST_F(DamagedStore, NameWhoseVersionsAreAllDamagedTakesNewOnes) {
  RunSql(path_, "DELETE FROM chunk WHERE name = 'a'");
  std::unique_ptr<Catalog> catalog = Open();
  EXPECT_EQ(catalog->Find("a", Latest{}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(Append(*catalog, "a"), 4);
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Wherever in the file: either it is not opened, or what it holds under a
// number is what was stored under that number.
TEST(SqliteDamageAnywhere, FlippedBitIsNeverServed) {
  const ScratchFolder folder;
  const std::string path = folder / "weights.db";
  {
    const std::unique_ptr<Store> store = OpenStoreAt(path);
    AppendVersions(*store, "a", 4, 8);
    AppendVersions(*store, "b", 4, 24);
  }
  const std::string whole = ReadFile(path);
  std::mt19937_64 random(1);
  int refused = 0;
  int skipped = 0;
  constexpr int kFlips = 400;
  for (int flip = 0; flip < kFlips; ++flip) {
    std::string flipped = whole;
    const size_t place = random() % flipped.size();
    flipped[place] = static_cast<char>(flipped[place] ^ (1 << random() % 8));
    SCOPED_TRACE(absl::StrCat("byte ", place));
    std::ofstream(path, std::ios::binary | std::ios::trunc) << flipped;
    const absl::StatusOr<std::unique_ptr<Store>> store = OpenSqliteStore(path);
    const absl::StatusOr<StoreContents> contents =
        store.ok() ? (*store)->LoadAll(NoLimit()) : store.status();
    if (!contents.ok()) {
      ++refused;
      continue;
    }
    if (!contents->damaged.empty()) ++skipped;
    for (const StoredWeightSet& set : contents->sets) {
      for (const auto& version : set.versions) {
        const auto& record = version->record();
        const int64_t head_dim = record.name == "a" ? 8 : 24;
        const auto stored =
            VersionOf(RecordOf(record.name, record.version, head_dim));
        EXPECT_EQ(record.sha256, stored->record().sha256);
        EXPECT_EQ(CanonicalSha256(record.contents), record.sha256);
      }
    }
  }
  // So that the test has seen both.
  EXPECT_GT(refused, 0);
  EXPECT_GT(skipped, kFlips / 10);
}

}  // namespace
}  // namespace attention::weights
