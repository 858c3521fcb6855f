// What goes into the SQLite store comes out of it, in another process too.
#include "server/weights/sqlite_store.h"

#include <sys/resource.h>

#include <atomic>
#include <csignal>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/weights/sqlite_stores.h"

// SQLite's, which the tests watch: how often something was brought to the disk.
namespace {
std::atomic<int> syncs{0};
}  // namespace
extern "C" int fsync(int) {
  ++syncs;
  return 0;
}
extern "C" int fdatasync(int) {
  ++syncs;
  return 0;
}

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::SizeIs;
using Code = absl::StatusCode;

class SqliteStoreTest : public ::testing::Test {
 protected:
  // The one weight set that a store opened anew holds.
  StoredWeightSet Reloaded() {
    store_.reset();
    store_ = OpenStoreAt(path_);
    StoreContents contents = Load(*store_);
    EXPECT_THAT(contents.damaged, IsEmpty());
    EXPECT_THAT(contents.sets, SizeIs(1));
    return contents.sets.empty() ? StoredWeightSet{}
                                 : std::move(contents.sets.front());
  }

  const ScratchFolder folder_;
  const std::string path_ = folder_ / "weights.db";
  std::unique_ptr<Store> store_ = OpenStoreAt(path_);
};

TEST_F(SqliteStoreTest, NewStoreIsEmpty) {
  const StoreContents contents = Load(*store_);
  EXPECT_THAT(contents.sets, IsEmpty());
  EXPECT_THAT(contents.damaged, IsEmpty());
}

TEST_F(SqliteStoreTest, EveryKindOfVersionComesBackAsItWas) {
  int64_t number = 0;
  std::vector<std::shared_ptr<const WeightSetVersion>> stored;
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16}) {
    for (const core::Layout layout :
         {core::Layout::kInOut, core::Layout::kOutIn}) {
      for (const bool biases : {false, true}) {
        for (const int64_t output_width : {0, 5}) {
          for (const bool described : {false, true}) {
            WeightSetVersion::Record record = RecordOf("a/b", ++number);
            record.contents =
                NumberedContents({2, 1, 3, 4, 6, 2, 3, output_width}, layout,
                                 dtype, biases, number);
            if (described) {
              record.idempotency_key = std::string("k\0\xC3\xA9", 4);
              record.annotations = {{"empty", ""},
                                    {std::string("\0", 1), "\xE2\x82\xAC"},
                                    {"long", std::string(1024, 'x')}};
            }
            stored.push_back(VersionOf(std::move(record)));
            ASSERT_TRUE(
                store_->AppendVersion(number - 1, stored.back(), {}).ok());
          }
        }
      }
    }
  }
  const StoredWeightSet set = Reloaded();
  EXPECT_EQ(set.name, "a/b");
  EXPECT_EQ(set.last_version, number);
  EXPECT_EQ(set.revision, number);
  ASSERT_EQ(set.versions.size(), stored.size());
  for (size_t i = 0; i < stored.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("version ", i + 1));
    ExpectSame(set.versions[i]->record(), stored[i]->record());
  }
}

TEST_F(SqliteStoreTest, LargeTensorsAreStoredInChunksOfAMebibyte) {
  // query.weight has 2 * 512 * 512 elements of 4 bytes: 2 MiB to the byte; one
  // column less or more is below or above.
  int64_t revision = 0;
  std::vector<std::shared_ptr<const WeightSetVersion>> stored;
  for (const int64_t width : {511, 512, 513}) {
    WeightSetVersion::Record record = RecordOf("a", ++revision);
    record.contents =
        NumberedContents({2, 1, width, 1, 1, 512, 1, 0}, core::Layout::kInOut,
                         DType::kFloat32, false, revision);
    stored.push_back(VersionOf(std::move(record)));
    ASSERT_TRUE(store_->AppendVersion(revision - 1, stored.back(), {}).ok());
  }
  const StoredWeightSet set = Reloaded();
  ASSERT_THAT(set.versions, SizeIs(3));
  for (size_t i = 0; i < stored.size(); ++i) {
    ExpectSame(set.versions[i]->record(), stored[i]->record());
    const std::string& data =
        set.versions[i]->record().contents.query.weight.data;
    EXPECT_EQ(data.capacity(), data.size()) << "no memory is wasted";
  }
  store_.reset();
  const auto chunks = [&](int64_t version) {
    return NumberFrom(path_,
                      absl::StrCat("SELECT count(*) FROM chunk WHERE "
                                   "path = 'query.weight' AND version = ",
                                   version));
  };
  EXPECT_EQ(chunks(1), 2);
  EXPECT_EQ(chunks(2), 2);
  EXPECT_EQ(chunks(3), 3);
  EXPECT_EQ(NumberFrom(path_, "SELECT max(length(data)) FROM chunk"), 1 << 20);
}

TEST_F(SqliteStoreTest, LabelsMoveAndGo) {
  AppendVersions(*store_, "a", 2);
  ASSERT_TRUE(
      store_->AppendVersion(2, VersionOf(RecordOf("a", 3)), {"new", "both"})
          .ok());
  ASSERT_TRUE(store_->MoveLabel(3, "a", "both", 1).ok());
  ASSERT_TRUE(store_->MoveLabel(4, "a", "old", 1).ok());
  EXPECT_THAT(Reloaded().labels,
              ElementsAre(Pair("both", 1), Pair("new", 3), Pair("old", 1)));
  ASSERT_TRUE(store_->MoveLabel(5, "a", "old", 0).ok());
  const StoredWeightSet set = Reloaded();
  EXPECT_THAT(set.labels, ElementsAre(Pair("both", 1), Pair("new", 3)));
  EXPECT_EQ(set.revision, 6);
}

TEST_F(SqliteStoreTest, DeletedVersionLeavesNoRowsAndKeepsItsNumber) {
  AppendVersions(*store_, "a", 3);
  ASSERT_TRUE(store_->Delete(3, "a", 3).ok());
  StoredWeightSet set = Reloaded();
  EXPECT_THAT(NumbersOf(set), ElementsAre(1, 2));
  EXPECT_EQ(set.last_version, 3);
  EXPECT_EQ(set.revision, 4);

  ASSERT_TRUE(store_->MoveLabel(4, "a", "x", 1).ok());
  ASSERT_TRUE(store_->Delete(5, "a", 0).ok());
  set = Reloaded();
  EXPECT_THAT(set.versions, IsEmpty());
  EXPECT_THAT(set.labels, IsEmpty());
  EXPECT_EQ(set.last_version, 3) << "a deleted name keeps its numbers";
  EXPECT_EQ(set.revision, 6);
  store_.reset();
  for (const char* table :
       {"version", "label", "annotation", "tensor", "chunk"}) {
    EXPECT_EQ(NumberFrom(path_, absl::StrCat("SELECT count(*) FROM ", table)),
              0)
        << table;
  }
}

TEST_F(SqliteStoreTest, DeletingOneNameLeavesTheOthers) {
  AppendVersions(*store_, "a", 2);
  AppendVersions(*store_, "b", 2);
  ASSERT_TRUE(store_->MoveLabel(2, "b", "x", 2).ok());
  ASSERT_TRUE(store_->Delete(2, "a", 0).ok());
  store_.reset();
  const StoreContents contents = LoadAt(path_);
  ASSERT_THAT(contents.sets, SizeIs(2));
  EXPECT_THAT(NumbersOf(contents.sets[0]), IsEmpty());
  EXPECT_THAT(NumbersOf(contents.sets[1]), ElementsAre(1, 2));
  EXPECT_THAT(contents.sets[1].labels, ElementsAre(Pair("x", 2)));
}

TEST_F(SqliteStoreTest, WriteAtAnotherRevisionIsAbortedAndChangesNothing) {
  AppendVersions(*store_, "a", 2);
  ASSERT_TRUE(store_->MoveLabel(2, "a", "x", 1).ok());
  for (const int64_t revision : {0, 2, 4}) {
    EXPECT_EQ(
        store_->AppendVersion(revision, VersionOf(RecordOf("a", 3)), {"y"})
            .code(),
        Code::kAborted);
    EXPECT_EQ(store_->MoveLabel(revision, "a", "x", 2).code(), Code::kAborted);
    EXPECT_EQ(store_->Delete(revision, "a", 0).code(), Code::kAborted);
  }
  EXPECT_EQ(store_->Delete(1, "unknown", 0).code(), Code::kAborted);
  const StoredWeightSet set = Reloaded();
  EXPECT_THAT(NumbersOf(set), ElementsAre(1, 2));
  EXPECT_THAT(set.labels, ElementsAre(Pair("x", 1)));
  EXPECT_EQ(set.revision, 3);
}

// The rows before the one that fails must go too: here a label that points at a
// version which, the foreign key says, is not there.
TEST_F(SqliteStoreTest, WriteThatFailsHalfwayChangesNothing) {
  AppendVersions(*store_, "a", 1);
  const absl::Status status = store_->MoveLabel(1, "a", "x", 7);
  EXPECT_EQ(status.code(), Code::kInternal) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("FOREIGN KEY"));
  EXPECT_EQ(store_->AppendVersion(1, VersionOf(RecordOf("a", 1)), {"x"}).code(),
            Code::kInternal)
      << "a number is used once";
  const StoredWeightSet set = Reloaded();
  EXPECT_EQ(set.revision, 1);
  EXPECT_EQ(set.last_version, 1);
  EXPECT_THAT(set.labels, IsEmpty());
}

TEST_F(SqliteStoreTest, EveryWriteIsOnTheDiskBeforeItIsAcknowledged) {
  const auto syncs_of = [](const absl::Status& status, int before) {
    EXPECT_TRUE(status.ok()) << status;
    return syncs - before;
  };
  // Without synchronous = FULL the log is synced at checkpoints only.
  int before = syncs;
  EXPECT_GE(syncs_of(store_->AppendVersion(0, VersionOf(RecordOf("a", 1)), {}),
                     before),
            1);
  before = syncs;
  EXPECT_GE(syncs_of(store_->MoveLabel(1, "a", "x", 1), before), 1);
  before = syncs;
  EXPECT_GE(syncs_of(store_->Delete(2, "a", 0), before), 1);
}

// As long as it lives, no file may grow beyond `bytes`: the nearest to a full
// disk that needs no disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes)
      : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    static_cast<void>(std::signal(SIGXFSZ, handler_));
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  void (*const handler_)(int);
  rlimit before_{};
};

TEST_F(SqliteStoreTest, WriteThatDoesNotFitIsUnavailableAndChangesNothing) {
  AppendVersions(*store_, "a", 1);
  // 8 MiB: more than SQLite keeps in memory until the commit.
  const auto large = VersionOf(RecordOf("a", 2, 1024));
  {
    const FileSizeLimit limit(1 << 20);
    const absl::Status status = store_->AppendVersion(1, large, {"x"});
    EXPECT_EQ(status.code(), Code::kUnavailable) << status;
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("the weight store cannot write: "));
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("nothing was changed"));
  }
  EXPECT_THAT(NumbersOf(Load(*store_).sets[0]), ElementsAre(1));
  ASSERT_TRUE(store_->AppendVersion(1, large, {"x"}).ok()) << "room again";
  const StoredWeightSet set = Reloaded();
  ASSERT_THAT(NumbersOf(set), ElementsAre(1, 2));
  ExpectSame(set.versions[1]->record(), large->record());
}

TEST(SqliteDatabase, FullDatabaseIsUnavailable) {
  const ScratchFolder folder;
  absl::StatusOr<SqliteDatabase> database =
      SqliteDatabase::Open(folder / "full.db");
  ASSERT_TRUE(database.ok());
  ASSERT_TRUE(database
                  ->Execute("CREATE TABLE t (data BLOB); "
                            "PRAGMA max_page_count = 4")
                  .ok());
  const absl::Status status =
      database->Execute("INSERT INTO t VALUES (zeroblob(100000))");
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_EQ(status.message(), "database or disk is full");
}

}  // namespace
}  // namespace attention::weights
