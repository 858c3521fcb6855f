// A process that ends at any moment of a write leaves all of it or nothing.
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/weights/sqlite_stores.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Writes to files that are left before this process ends, as by kill -9; none
// ends it below 0.
int writes_left = -1;
int writes_done = 0;

ssize_t WriteOrDie(int file, const void* bytes, size_t size, off_t offset) {
  if (writes_left == 0) raise(SIGKILL);
  if (writes_left > 0) --writes_left;
  ++writes_done;
  return pwrite(file, bytes, size, offset);
}

// Makes SQLite write by WriteOrDie.
void InterceptWrites() {
  sqlite3_initialize();
  sqlite3_vfs* const system = sqlite3_vfs_find(nullptr);
  for (const char* const call : {"pwrite", "pwrite64"}) {
    system->xSetSystemCall(system, call,
                           reinterpret_cast<sqlite3_syscall_ptr>(&WriteOrDie));
  }
}

// Runs `work` in a process of its own; whether it was killed.
template <typename Work>
bool KilledDuring(Work work) {
  const pid_t child = fork();
  if (child == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

constexpr int64_t kHeadDim = 512;  // query.weight: two chunks

class SqliteCrash : public ::testing::Test {
 protected:
  SqliteCrash() { InterceptWrites(); }
  ~SqliteCrash() override { writes_left = -1; }

  // A store that holds version 1 of "a", labelled "x".
  void Begin(const std::string& path) {
    const std::unique_ptr<Store> store = OpenStoreAt(path);
    ASSERT_TRUE(
        store->AppendVersion(0, VersionOf(RecordOf("a", 1)), {"x"}).ok());
  }

  const ScratchFolder folder_;
};

TEST_F(SqliteCrash, KillAtAnyWriteOfAVersionLeavesAllOfItOrNothing) {
  const auto append = [](Store& store) {
    return store.AppendVersion(1, VersionOf(RecordOf("a", 2, kHeadDim)), {"x"});
  };
  Begin(folder_ / "counted.db");
  const std::unique_ptr<Store> counted = OpenStoreAt(folder_ / "counted.db");
  writes_done = 0;
  ASSERT_TRUE(append(*counted).ok());
  const int writes = writes_done;
  ASSERT_GT(writes, 100);

  int nothing = 0;
  int everything = 0;
  // The first writes, the last ones, and some of those between.
  for (int left = 0; left < writes;
       left += left < 4 || left > writes - 5 ? 1 : writes / 13) {
    SCOPED_TRACE(absl::StrCat(left, " of ", writes, " writes"));
    const std::string path = folder_ / absl::StrCat(left, ".db");
    Begin(path);
    EXPECT_TRUE(KilledDuring([&] {
      const std::unique_ptr<Store> store = OpenStoreAt(path);
      writes_left = left;
      static_cast<void>(append(*store).ok());
    }));
    const StoreContents contents = LoadAt(path);
    EXPECT_THAT(contents.damaged, IsEmpty());
    ASSERT_THAT(contents.sets, SizeIs(1));
    const StoredWeightSet& set = contents.sets[0];
    if (set.versions.size() == 1) {
      ++nothing;
      EXPECT_EQ(set.revision, 1);
      EXPECT_EQ(set.last_version, 1);
      EXPECT_EQ(set.labels.at("x"), 1);
    } else {
      ++everything;
      EXPECT_THAT(NumbersOf(set), ElementsAre(1, 2));
      EXPECT_EQ(set.revision, 2);
      EXPECT_EQ(set.labels.at("x"), 2);
      ExpectSame(set.versions[1]->record(),
                 VersionOf(RecordOf("a", 2, kHeadDim))->record());
    }
  }
  EXPECT_GT(nothing, 0);
  EXPECT_GT(everything, 0) << "the checkpoint after the commit was killed too";
}

TEST_F(SqliteCrash, AcknowledgedWriteSurvivesKill) {
  const std::string path = folder_ / "weights.db";
  EXPECT_TRUE(KilledDuring([&] {
    const std::unique_ptr<Store> store = OpenStoreAt(path);
    AppendVersions(*store, "a", 3);
    if (store->MoveLabel(3, "a", "x", 2).ok() &&
        store->Delete(4, "a", 1).ok()) {
      raise(SIGKILL);
    }
  }));
  const StoreContents contents = LoadAt(path);
  ASSERT_THAT(contents.sets, SizeIs(1));
  EXPECT_THAT(NumbersOf(contents.sets[0]), ElementsAre(2, 3));
  EXPECT_EQ(contents.sets[0].labels.at("x"), 2);
  EXPECT_EQ(contents.sets[0].revision, 5);
}

TEST_F(SqliteCrash, KillWhileTheStoreIsMadeLeavesOneThatOpens) {
  int killed = 0;
  for (int left = 0;; ++left) {
    const std::string path = folder_ / absl::StrCat("new", left, ".db");
    if (!KilledDuring([&] {
          writes_left = left;
          OpenStoreAt(path);
        })) {
      break;
    }
    ++killed;
    Begin(path);
  }
  EXPECT_GT(killed, 3);
}

}  // namespace
}  // namespace attention::weights
