// What --store takes, and where its default is.
#include "server/store_location.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config.h"
#include "tests/support/scratch_folder.h"

namespace attention::server {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

// An environment variable with another value, or none, for as long as this
// lives.
class Environment {
 public:
  Environment(const char* name, const std::optional<std::string>& value)
      : name_(name) {
    const char* const before = std::getenv(name);
    if (before != nullptr) before_ = before;
    Set(value);
  }
  ~Environment() { Set(before_); }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  void Set(const std::optional<std::string>& value) {
    if (value.has_value()) {
      setenv(name_, value->c_str(), 1);
    } else {
      unsetenv(name_);
    }
  }
  const char* const name_;
  std::optional<std::string> before_;
};

TEST(StoreLocation, DefaultIsInTheStateFolder) {
  const Environment home("HOME", "/home/ada");
  {
    const Environment state("XDG_STATE_HOME", "/state");
    EXPECT_EQ(DefaultStore(), "sqlite:/state/attention-service/weights.db");
  }
  for (const std::optional<std::string>& unusable :
       {std::optional<std::string>(), std::optional<std::string>(""),
        std::optional<std::string>("relative")}) {
    const Environment state("XDG_STATE_HOME", unusable);
    EXPECT_EQ(DefaultStore(),
              "sqlite:/home/ada/.local/state/attention-service/weights.db");
  }
}

TEST(StoreLocation, WithoutAHomeItHasToBeSaid) {
  const Environment home("HOME", std::nullopt);
  const Environment state("XDG_STATE_HOME", std::nullopt);
  EXPECT_EQ(DefaultStore(), "");
  const char* const none[] = {"attention-server"};
  const CommandLine refused = ParseCommandLine(1, none);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.error, HasSubstr("--store memory"));
  const char* const memory[] = {"attention-server", "--store", "memory"};
  EXPECT_TRUE(ParseCommandLine(3, memory).config.has_value());
}

TEST(StoreLocation, IsMemoryOrAPath) {
  EXPECT_EQ(ParseStoreLocation("memory")->sqlite_path, "");
  EXPECT_EQ(ParseStoreLocation("sqlite:/data/w.db")->sqlite_path, "/data/w.db");
  EXPECT_EQ(ParseStoreLocation("sqlite:w.db")->sqlite_path, "w.db");
}

TEST(StoreLocation, AnythingElseIsRefused) {
  for (const char* text : {"sqlite:", "/data/w.db", "Memory",
                           "sqlite::memory:", "sqlite:file:w.db?mode=ro",
                           "memory:", "postgres://host/db", "sqlite"}) {
    const absl::Status status = ParseStoreLocation(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(status.message()),
                StartsWith(std::string("--store is \"") + text +
                           "\"; expected sqlite:PATH"));
  }
}

TEST(StoreLocation, OnlyTheFoldersOfTheDefaultAreMade) {
  const ScratchFolder folder;
  const Environment state("XDG_STATE_HOME", folder / "a/b");
  const auto location = ParseStoreLocation(DefaultStore());
  ASSERT_TRUE(location.ok());
  for (int turn = 0; turn < 2; ++turn) {
    auto lock = LockStore(*location);
    ASSERT_TRUE(lock.ok()) << lock.status();
    const auto store = OpenStore(*location, *std::move(lock));
    ASSERT_TRUE(store.ok()) << store.status();
  }
  for (const char* made : {"a", "a/b", "a/b/attention-service"}) {
    struct stat facts {};
    ASSERT_EQ(stat((folder / made).c_str(), &facts), 0) << made;
    EXPECT_EQ(facts.st_mode & 0777, 0700) << made;
  }

  const absl::Status missing = LockStore({folder / "c/w.db"}).status();
  EXPECT_EQ(missing.message(), "--store sqlite:" + (folder / "c/w.db") +
                                   ": the folder " + (folder / "c") +
                                   " does not exist; make it first");
}

TEST(StoreLocation, FolderThatCannotBeMadeIsNamed) {
  const ScratchFolder folder;
  const Environment state("XDG_STATE_HOME", "/proc/nowhere");
  const absl::Status status =
      LockStore(*ParseStoreLocation(DefaultStore())).status();
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cannot make the folder /proc/nowhere: "));
}

}  // namespace
}  // namespace attention::server
