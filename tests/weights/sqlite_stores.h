// What the tests of the SQLite store share.
#ifndef TESTS_WEIGHTS_SQLITE_STORES_H_
#define TESTS_WEIGHTS_SQLITE_STORES_H_

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/weights/sqlite_database.h"
#include "server/weights/sqlite_store.h"
#include "server/weights/store.h"
#include "tests/support/scratch_folder.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {

// The store at `path`; the test ends without one.
inline std::unique_ptr<Store> OpenStoreAt(const std::string& path) {
  absl::StatusOr<std::unique_ptr<Store>> store = OpenSqliteStore(path);
  if (!store.ok()) {
    ADD_FAILURE() << path << ": " << store.status();
    std::abort();
  }
  return *std::move(store);
}

inline StoreContents Load(Store& store) {
  static memory::Ledger ledger(INT64_MAX);
  absl::StatusOr<StoreContents> contents = store.LoadAll(ledger);
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? *std::move(contents) : StoreContents{};
}

// What a store at `path` holds.
inline StoreContents LoadAt(const std::string& path) {
  return Load(*OpenStoreAt(path));
}

// Runs SQL on a database that no store has open.
inline void RunSql(const std::string& path, const std::string& sql) {
  absl::StatusOr<SqliteDatabase> database = SqliteDatabase::Open(path);
  ASSERT_TRUE(database.ok()) << database.status();
  const absl::Status done = database->Execute(sql);
  ASSERT_TRUE(done.ok()) << sql << ": " << done;
}

inline int64_t NumberFrom(const std::string& path, const std::string& sql) {
  absl::StatusOr<SqliteDatabase> database = SqliteDatabase::Open(path);
  EXPECT_TRUE(database.ok()) << database.status();
  const absl::StatusOr<int64_t> number = database->Number(sql);
  EXPECT_TRUE(number.ok()) << sql << ": " << number.status();
  return number.value_or(-1);
}

// A version of `name`, whose elements differ with `number`; of two heads of
// width `head_dim`, which makes query.weight 8 * head_dim^2 bytes... of
// FLOAT32.
inline WeightSetVersion::Record RecordOf(const std::string& name,
                                         int64_t number, int64_t head_dim = 2) {
  WeightSetVersion::Record record;
  record.name = name;
  record.version = number;
  record.create_time = std::chrono::system_clock::time_point(
      std::chrono::nanoseconds(1'700'000'000'123'456'789 + number));
  record.contents = NumberedContents(
      {2, 1, head_dim, head_dim, head_dim, head_dim, head_dim, head_dim},
      core::Layout::kInOut, DType::kFloat32, /*biases=*/true, number);
  return record;
}

inline std::shared_ptr<const WeightSetVersion> VersionOf(
    WeightSetVersion::Record record) {
  absl::StatusOr<std::unique_ptr<WeightSetVersion>> version =
      WeightSetVersion::Make(std::move(record));
  if (!version.ok()) {
    ADD_FAILURE() << version.status();
    std::abort();
  }
  return *std::move(version);
}

// Appends versions 1 to `count` of `name`, whose present revision is 0.
inline void AppendVersions(Store& store, const std::string& name, int64_t count,
                           int64_t head_dim = 2) {
  for (int64_t number = 1; number <= count; ++number) {
    const absl::Status status = store.AppendVersion(
        number - 1, VersionOf(RecordOf(name, number, head_dim)), {});
    ASSERT_TRUE(status.ok()) << status;
  }
}

// The numbers of the versions of `set`.
inline std::vector<int64_t> NumbersOf(const StoredWeightSet& set) {
  std::vector<int64_t> numbers;
  numbers.reserve(set.versions.size());
  for (const auto& version : set.versions) {
    numbers.push_back(version->record().version);
  }
  return numbers;
}

inline void ExpectSameTensor(const StoredTensor& left,
                             const StoredTensor& right) {
  EXPECT_EQ(left.shape, right.shape);
  EXPECT_TRUE(left.data == right.data);
}

inline void ExpectSameProjection(const StoredProjection& left,
                                 const StoredProjection& right) {
  ExpectSameTensor(left.weight, right.weight);
  ASSERT_EQ(left.bias.has_value(), right.bias.has_value());
  if (left.bias.has_value()) ExpectSameTensor(*left.bias, *right.bias);
}

// Everything that is stored of a version.
inline void ExpectSame(const WeightSetVersion::Record& left,
                       const WeightSetVersion::Record& right) {
  EXPECT_EQ(left.name, right.name);
  EXPECT_EQ(left.version, right.version);
  EXPECT_EQ(left.create_time, right.create_time);
  EXPECT_EQ(left.idempotency_key, right.idempotency_key);
  EXPECT_EQ(left.annotations, right.annotations);
  EXPECT_EQ(left.sha256, right.sha256);
  EXPECT_EQ(left.contents.dtype, right.contents.dtype);
  EXPECT_EQ(left.contents.layout, right.contents.layout);
  EXPECT_EQ(left.contents.num_heads, right.contents.num_heads);
  EXPECT_EQ(left.contents.num_kv_heads, right.contents.num_kv_heads);
  ExpectSameProjection(left.contents.query, right.contents.query);
  ExpectSameProjection(left.contents.key, right.contents.key);
  ExpectSameProjection(left.contents.value, right.contents.value);
  ASSERT_EQ(left.contents.output.has_value(),
            right.contents.output.has_value());
  if (left.contents.output.has_value()) {
    ExpectSameProjection(*left.contents.output, *right.contents.output);
  }
}

}  // namespace attention::weights

#endif  // TESTS_WEIGHTS_SQLITE_STORES_H_
