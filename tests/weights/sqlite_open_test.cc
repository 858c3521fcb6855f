// What the SQLite store makes of the file it is given, and whom it lets in.
#include <fcntl.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/weights/sqlite_schema.h"
#include "tests/weights/sqlite_stores.h"

namespace attention::weights {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Code = absl::StatusCode;

// A store that must not open, with part of what is said about it.
void ExpectRefused(const std::string& path, Code code,
                   const std::string& says) {
  const absl::Status status = OpenSqliteStore(path).status();
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(says));
}

mode_t ModeOf(const std::string& path) {
  struct stat facts {};
  EXPECT_EQ(stat(path.c_str(), &facts), 0) << path;
  return facts.st_mode & 0777;
}

class SqliteOpen : public ::testing::Test {
 protected:
  const ScratchFolder folder_;
  const std::string path_ = folder_ / "weights.db";
};

TEST_F(SqliteOpen, SecondStoreIsRefusedNamingFileAndProcess) {
  const std::unique_ptr<Store> store = OpenStoreAt(path_);
  ExpectRefused(path_, Code::kUnavailable,
                absl::StrCat("another server (process ", getpid(), ") holds ",
                             path_, ".lock"));
  AppendVersions(*store, "a", 1);
}

TEST_F(SqliteOpen, LockEndsWithTheStore) {
  OpenStoreAt(path_);
  OpenStoreAt(path_);
  EXPECT_TRUE(std::filesystem::exists(path_ + ".lock"));
}

// By another name the lock file is another, but SQLite's own lock is not.
TEST_F(SqliteOpen, SameFileByAnotherNameIsRefused) {
  const std::unique_ptr<Store> store = OpenStoreAt(path_);
  std::filesystem::create_symlink(path_, folder_ / "link.db");
  ExpectRefused(folder_ / "link.db", Code::kUnavailable,
                "another program has the database open");
}

TEST_F(SqliteOpen, OtherProgramsAreKeptOut) {
  const std::unique_ptr<Store> store = OpenStoreAt(path_);
  AppendVersions(*store, "a", 1);
  absl::StatusOr<SqliteDatabase> other = SqliteDatabase::Open(path_);
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(other->Number("SELECT count(*) FROM version").status().code(),
            Code::kUnavailable);
}

TEST_F(SqliteOpen, FileThatAnotherProgramHasOpenIsRefused) {
  OpenStoreAt(path_);
  absl::StatusOr<SqliteDatabase> other = SqliteDatabase::Open(path_);
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(other->Execute("BEGIN; SELECT count(*) FROM version").ok());
  ExpectRefused(path_, Code::kUnavailable,
                "another program has the database open");
  ASSERT_TRUE(other->Execute("COMMIT; PRAGMA optimize").ok());
}

TEST_F(SqliteOpen, MissingFolderIsNamed) {
  ExpectRefused(
      folder_ / "no/such/weights.db", Code::kUnavailable,
      absl::StrCat("the folder ", folder_ / "no/such", " does not exist"));
}

TEST_F(SqliteOpen, FolderIsNoDatabase) {
  ExpectRefused(folder_.path(), Code::kUnavailable, "is a folder");
}

TEST_F(SqliteOpen, FileThatIsNoDatabaseIsRefusedAndLeftAlone) {
  const std::string text(5000, 'x');
  std::ofstream(path_) << text;
  ExpectRefused(path_, Code::kDataLoss, "not a database");
  std::ifstream file(path_);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
}

TEST_F(SqliteOpen, EmptyFileBecomesAStore) {
  std::ofstream(path_).flush();
  EXPECT_THAT(LoadAt(path_).sets, IsEmpty());
}

TEST_F(SqliteOpen, DatabaseOfAnotherProgramIsRefusedAndLeftAlone) {
  RunSql(path_,
         "CREATE TABLE bookmark (url TEXT); "
         "PRAGMA user_version = 1");
  ExpectRefused(path_, Code::kFailedPrecondition, "of another program");
  EXPECT_EQ(NumberFrom(path_, "SELECT count(*) FROM sqlite_master"), 1);
  absl::StatusOr<SqliteDatabase> database = SqliteDatabase::Open(path_);
  ASSERT_TRUE(database.ok());
  SqliteStatement mode = database->Prepare("PRAGMA journal_mode");
  ASSERT_TRUE(mode.Step().ok());
  EXPECT_EQ(mode.Text(0), "delete");
}

TEST_F(SqliteOpen, NewerSchemaIsRefusedNamingBothVersions) {
  OpenStoreAt(path_);
  const size_t known = SchemaMigrations().size();
  RunSql(path_, absl::StrCat("PRAGMA user_version = ", known + 1));
  ExpectRefused(
      path_, Code::kFailedPrecondition,
      absl::StrCat("has schema version ", known + 1,
                   ", but this attention-server knows versions up to ", known));
  EXPECT_EQ(NumberFrom(path_, "PRAGMA user_version"), known + 1);
}

TEST_F(SqliteOpen, FilesAreForTheirOwnerAlone) {
  const std::unique_ptr<Store> store = OpenStoreAt(path_);
  AppendVersions(*store, "a", 1);
  for (const auto& file : std::filesystem::directory_iterator(folder_.path())) {
    EXPECT_EQ(ModeOf(file.path()), 0600) << file.path();
  }
  EXPECT_EQ(ModeOf(path_ + "-wal"), 0600);
}

// Permissions bind everybody but root: this thread is nobody meanwhile.
class AsNobody {
 public:
  AsNobody() { setfsuid(kNobody); }
  ~AsNobody() { setfsuid(geteuid()); }
  AsNobody(const AsNobody&) = delete;
  AsNobody& operator=(const AsNobody&) = delete;

 private:
  static constexpr uid_t kNobody = 65534;
};

TEST_F(SqliteOpen, ReadOnlyFolderIsRefused) {
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  {
    const AsNobody nobody;
    ExpectRefused(path_, Code::kUnavailable, "Permission denied");
  }
  ASSERT_EQ(chmod(folder_.path().c_str(), 0700), 0);
  OpenStoreAt(path_);
}

TEST_F(SqliteOpen, ReadOnlyFileIsRefused) {
  OpenStoreAt(path_);
  ASSERT_EQ(chmod(path_.c_str(), 0444), 0);
  ASSERT_EQ(chmod((path_ + ".lock").c_str(), 0666), 0);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0777), 0);
  const AsNobody nobody;
  ExpectRefused(path_, Code::kUnavailable,
                "cannot be opened for writing: Permission denied");
}

// Made-up schemas, since there is one of the store so far.
constexpr const char* kFirst[] = {"CREATE TABLE t (a BIGINT)"};
constexpr const char* kFirstAndSecond[] = {
    kFirst[0],
    "ALTER TABLE t ADD COLUMN b BIGINT NOT NULL DEFAULT 7; "
    "UPDATE t SET a = a + 1"};
constexpr const char* kBrokenSecond[] = {
    kFirst[0], "UPDATE t SET a = 0; INSERT INTO nowhere VALUES (1)"};

class SqliteSchema : public SqliteOpen {
 protected:
  absl::Status Migrate(absl::Span<const char* const> migrations) {
    return MigrateSchema(database_, migrations);
  }
  int64_t Number(const std::string& sql) {
    const absl::StatusOr<int64_t> number = database_.Number(sql);
    EXPECT_TRUE(number.ok()) << number.status();
    return number.value_or(-1);
  }

  SqliteDatabase database_ = *SqliteDatabase::Open(path_);
};

TEST_F(SqliteSchema, OlderDatabaseIsBroughtForward) {
  ASSERT_TRUE(Migrate(kFirst).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), 1);
  ASSERT_TRUE(database_.Execute("INSERT INTO t VALUES (1)").ok());

  ASSERT_TRUE(Migrate(kFirstAndSecond).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), 2);
  EXPECT_EQ(Number("SELECT a FROM t"), 2);
  EXPECT_EQ(Number("SELECT b FROM t"), 7);

  ASSERT_TRUE(Migrate(kFirstAndSecond).ok());
  EXPECT_EQ(Number("SELECT a FROM t"), 2) << "once, not twice";
  EXPECT_EQ(Migrate(kFirst).code(), Code::kFailedPrecondition);
}

TEST_F(SqliteSchema, FreshDatabaseGoesThroughAll) {
  ASSERT_TRUE(Migrate(kFirstAndSecond).ok());
  EXPECT_EQ(Number("PRAGMA user_version"), 2);
  EXPECT_EQ(Number("SELECT count(b) FROM t"), 0);
}

TEST_F(SqliteSchema, MigrationThatFailsChangesNothing) {
  ASSERT_TRUE(Migrate(kFirst).ok());
  ASSERT_TRUE(database_.Execute("INSERT INTO t VALUES (5)").ok());
  const absl::Status status = Migrate(kBrokenSecond);
  EXPECT_EQ(status.code(), Code::kInternal);
  EXPECT_THAT(std::string(status.message()), HasSubstr("nowhere"));
  EXPECT_EQ(Number("PRAGMA user_version"), 1);
  EXPECT_EQ(Number("SELECT a FROM t"), 5);
  EXPECT_TRUE(Migrate(kFirstAndSecond).ok());
}

}  // namespace
}  // namespace attention::weights
