// What the tests of the catalog share.
#ifndef TESTS_WEIGHTS_CATALOGS_H_
#define TESTS_WEIGHTS_CATALOGS_H_

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "proto/field_error.h"
#include "server/weights/catalog.h"
#include "tests/weights/weight_sets.h"

namespace attention::weights {

// A store that outlives the catalogs over it, as a database does, and that can
// be told to fail. Thread-safe.
class SharedStore {
 public:
  explicit SharedStore(std::unique_ptr<Store> store = NewMemoryStore())
      : store_(std::move(store)) {}

  // A store for one catalog. This object must outlive it.
  std::unique_ptr<Store> Connect() {
    return std::make_unique<Connection>(*this);
  }

  // The status of every write from now on, which then changes nothing.
  void FailWrites(absl::Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }

 private:
  class Connection : public Store {
   public:
    explicit Connection(SharedStore& shared) : shared_(shared) {}

    absl::StatusOr<StoreContents> LoadAll(memory::Ledger& ledger) override {
      const std::lock_guard lock(shared_.mutex_);
      return shared_.store_->LoadAll(ledger);
    }
    absl::Status AppendVersion(
        int64_t revision, std::shared_ptr<const WeightSetVersion> version,
        const std::vector<std::string>& labels) override {
      return Write([&](Store& store) {
        return store.AppendVersion(revision, version, labels);
      });
    }
    absl::Status MoveLabel(int64_t revision, const std::string& name,
                           const std::string& label, int64_t version) override {
      return Write([&](Store& store) {
        return store.MoveLabel(revision, name, label, version);
      });
    }
    absl::Status Delete(int64_t revision, const std::string& name,
                        int64_t version) override {
      return Write(
          [&](Store& store) { return store.Delete(revision, name, version); });
    }

   private:
    template <typename Call>
    absl::Status Write(Call call) {
      const std::lock_guard lock(shared_.mutex_);
      return shared_.failure_.ok() ? call(*shared_.store_) : shared_.failure_;
    }
    SharedStore& shared_;
  };

  std::mutex mutex_;
  const std::unique_ptr<Store> store_;
  absl::Status failure_;
};

// Of as much memory as anybody likes.
inline memory::Ledger& NoLimit() {
  static memory::Ledger ledger(INT64_MAX);
  return ledger;
}

inline std::unique_ptr<Catalog> OpenCatalog(std::unique_ptr<Store> store) {
  absl::StatusOr<std::unique_ptr<Catalog>> catalog =
      Catalog::Open(std::move(store), NoLimit());
  EXPECT_TRUE(catalog.ok()) << catalog.status();
  return *std::move(catalog);
}

// Small weights that differ with `first`.
inline SetRequest RequestFor(const std::string& name, int64_t first = 0) {
  SetRequest request;
  request.name = name;
  request.contents =
      NumberedContents({1, 1, 2, 2, 2, 2, 2, 0}, core::Layout::kInOut,
                       DType::kFloat32, /*biases=*/false, first);
  return request;
}

// Appends a version and returns its number.
inline int64_t Append(Catalog& catalog, SetRequest request) {
  const auto version = catalog.Set(std::move(request));
  EXPECT_TRUE(version.ok()) << version.status();
  return version.ok() ? (*version)->record().version : 0;
}

inline int64_t Append(Catalog& catalog, const std::string& name,
                      int64_t first = 0) {
  return Append(catalog, RequestFor(name, first));
}

// The number `which` resolves to; 0 and a failure if it does not.
inline int64_t NumberOf(const Catalog& catalog, const std::string& name,
                        const Which& which) {
  const auto version = catalog.Find(name, which);
  EXPECT_TRUE(version.ok()) << version.status();
  return version.ok() ? (*version)->record().version : 0;
}

// An error about `field`, whose message is `message`.
inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::string& field, const std::string& message) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(ErrorField(status), field);
  EXPECT_EQ(status.message(), message);
}

}  // namespace attention::weights

#endif  // TESTS_WEIGHTS_CATALOGS_H_
