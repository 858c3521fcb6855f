#include "server/store_location.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "proto/error_text.h"
#include "server/weights/sqlite_store.h"

namespace attention::server {
namespace {

constexpr char kMemory[] = "memory";
constexpr char kSqlite[] = "sqlite:";

// An absolute path from the environment; empty if it has none. The XDG
// specification has relative ones ignored.
std::filesystem::path FolderFrom(const char* variable) {
  const char* const value = std::getenv(variable);
  const std::filesystem::path folder(value == nullptr ? "" : value);
  return folder.is_absolute() ? folder : std::filesystem::path();
}

// SQLite's own words for what is no path, or more than one. A file of that name
// can be had as ./NAME.
bool MeansNoPath(absl::string_view path) {
  return absl::StartsWith(path, ":") || absl::StartsWith(path, "file:");
}

// Makes the folders that `path` is in, as far as they are missing.
absl::Status MakeFolders(const std::filesystem::path& path) {
  std::filesystem::path folder;
  for (const std::filesystem::path& part : path.parent_path()) {
    folder /= part;
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
      return absl::UnavailableError(absl::StrCat("cannot make the folder ",
                                                 folder.string(), ": ",
                                                 std::strerror(errno)));
    }
  }
  return absl::OkStatus();
}

std::string Flag(const StoreLocation& location) {
  return absl::StrCat(kSqlite, location.sqlite_path);
}

absl::Status About(const StoreLocation& location, const absl::Status& status) {
  return {status.code(),
          absl::StrCat("--store ", Flag(location), ": ", status.message())};
}

}  // namespace

std::string DefaultStore() {
  std::filesystem::path state = FolderFrom("XDG_STATE_HOME");
  if (state.empty()) {
    const std::filesystem::path home = FolderFrom("HOME");
    if (home.empty()) return "";
    state = home / ".local" / "state";
  }
  return absl::StrCat(kSqlite,
                      (state / "attention-service" / "weights.db").string());
}

absl::StatusOr<StoreLocation> ParseStoreLocation(const std::string& text) {
  if (text == kMemory) return StoreLocation{};
  absl::string_view path = text;
  if (absl::ConsumePrefix(&path, kSqlite) && !path.empty() &&
      !MeansNoPath(path)) {
    return StoreLocation{std::string(path)};
  }
  if (text.empty()) {
    return absl::InvalidArgumentError(
        "--store is not set, and neither XDG_STATE_HOME nor HOME is an "
        "absolute path to have its default in; say --store sqlite:PATH or "
        "--store memory");
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--store is ", Quoted(text), "; expected sqlite:PATH, such as ",
      "sqlite:/var/lib/attention/weights.db, or memory"));
}

absl::StatusOr<std::unique_ptr<weights::FileLock>> LockStore(
    const StoreLocation& location) {
  const std::string& path = location.sqlite_path;
  if (path.empty()) return nullptr;
  absl::Status status;
  if (Flag(location) == DefaultStore()) status = MakeFolders(path);
  if (!status.ok()) return About(location, status);
  auto lock = weights::LockSqliteStore(path);
  if (!lock.ok()) return About(location, lock.status());
  return lock;
}

absl::StatusOr<std::unique_ptr<weights::Store>> OpenStore(
    const StoreLocation& location, std::unique_ptr<weights::FileLock> lock) {
  if (location.sqlite_path.empty()) return weights::NewMemoryStore();
  auto store = weights::OpenSqliteStore(location.sqlite_path, std::move(lock));
  if (!store.ok()) return About(location, store.status());
  return store;
}

}  // namespace attention::server
