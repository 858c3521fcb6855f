// The catalog, its store, and those who use them at the same time.
#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/weights/catalog.h"
#include "tests/weights/catalogs.h"
#include "tests/weights/sqlite_stores.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Code = absl::StatusCode;

// Everything a reader can see, in words.
std::vector<std::string> Seen(const Catalog& catalog) {
  std::vector<std::string> seen;
  const absl::StatusOr<ListPage> page = catalog.List({.page_size = 1000});
  EXPECT_TRUE(page.ok()) << page.status();
  for (const Listed& listed : page->versions) {
    const WeightSetVersion::Record& record = listed.version->record();
    seen.push_back(
        absl::StrCat(record.name, "/", record.version, " ", record.sha256));
    for (const std::string& label : listed.labels) {
      absl::StrAppend(&seen.back(), " ", label);
    }
  }
  return seen;
}

// A store of each kind, which the catalogs over it share.
class CatalogOnEachStore : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Store> NewStore() const {
    if (GetParam() == std::string("Memory")) return NewMemoryStore();
    return OpenStoreAt(folder_ / "weights.db");
  }

  const ScratchFolder folder_;
  SharedStore store_{NewStore()};
};

INSTANTIATE_TEST_SUITE_P(Each, CatalogOnEachStore,
                         ::testing::Values("Memory", "Sqlite"),
                         [](const auto& kind) {
                           return std::string(kind.param);
                         });

TEST_P(CatalogOnEachStore, ReopenedCatalogServesTheSame) {
  std::unique_ptr<Catalog> catalog = OpenCatalog(store_.Connect());
  SetRequest request = RequestFor("a", 1);
  request.idempotency_key = "key";
  Append(*catalog, request);
  Append(*catalog, "a", 2);
  Append(*catalog, "b", 3);
  Append(*catalog, "gone", 4);
  ASSERT_TRUE(catalog->SetLabel("a", "x", 1, {}).ok());
  ASSERT_TRUE(catalog->SetLabel("a", "y", 2, {}).ok());
  ASSERT_TRUE(catalog->SetLabel("a", "y", {}, {}).ok());
  ASSERT_TRUE(catalog->Delete("a", 2, {}).ok());
  ASSERT_TRUE(catalog->Delete("gone", {}, {}).ok());
  const std::vector<std::string> before = Seen(*catalog);
  EXPECT_THAT(before, SizeIs(2));

  catalog = OpenCatalog(store_.Connect());
  EXPECT_EQ(Seen(*catalog), before);
  EXPECT_EQ(NumberOf(*catalog, "a", "x"), 1);
  EXPECT_EQ(Append(*catalog, std::move(request)), 1) << "the key is remembered";
  EXPECT_EQ(Append(*catalog, "a"), 3) << "deleted numbers are remembered";
  EXPECT_EQ(Append(*catalog, "gone"), 2) << "and those of deleted sets";
}

TEST_P(CatalogOnEachStore, FailingStoreLeavesNothingBehind) {
  const std::unique_ptr<Catalog> catalog = OpenCatalog(store_.Connect());
  Append(*catalog, "a", 1);
  ASSERT_TRUE(catalog->SetLabel("a", "x", 1, {}).ok());
  const std::vector<std::string> before = Seen(*catalog);

  const absl::Status failure = absl::UnavailableError("disk on fire");
  store_.FailWrites(failure);
  SetRequest labelled = RequestFor("a", 2);
  labelled.labels = {"x", "z"};
  EXPECT_EQ(catalog->Set(std::move(labelled)).status(), failure);
  EXPECT_EQ(catalog->Set(RequestFor("b", 2)).status(), failure);
  EXPECT_EQ(catalog->SetLabel("a", "y", 1, {}).status(), failure);
  EXPECT_EQ(catalog->SetLabel("a", "x", {}, {}).status(), failure);
  EXPECT_EQ(catalog->Delete("a", {}, {}).status(), failure);
  EXPECT_EQ(Seen(*catalog), before);
  EXPECT_EQ(catalog->Find("b", Latest{}).status().code(), Code::kNotFound);

  store_.FailWrites(absl::OkStatus());
  EXPECT_EQ(Append(*catalog, "a", 2), 2) << "no number was lost";
  EXPECT_EQ(Append(*catalog, "b", 2), 1);
}

TEST_P(CatalogOnEachStore, WritesOfAnotherCatalogAreSeenAfterRefresh) {
  const std::unique_ptr<Catalog> mine = OpenCatalog(store_.Connect());
  const std::unique_ptr<Catalog> other = OpenCatalog(store_.Connect());
  Append(*other, "a", 1);
  EXPECT_THAT(Seen(*mine), IsEmpty());
  ASSERT_TRUE(mine->Refresh().ok());
  EXPECT_EQ(Seen(*mine), Seen(*other));
}

TEST_P(CatalogOnEachStore, WriteAfterAnotherCatalogsIsCheckedAnew) {
  const std::unique_ptr<Catalog> mine = OpenCatalog(store_.Connect());
  const std::unique_ptr<Catalog> other = OpenCatalog(store_.Connect());
  SetRequest keyed = RequestFor("a", 1);
  keyed.idempotency_key = "key";
  EXPECT_EQ(Append(*other, keyed), 1);
  EXPECT_EQ(Append(*mine, "a", 2), 2) << "no number twice";
  EXPECT_EQ(Append(*other, "a", 3), 3);

  // Mine believes that 2 is the latest.
  SetRequest compared = RequestFor("a");
  compared.expected_version = 2;
  ExpectError(mine->Set(std::move(compared)).status(), Code::kAborted,
              "expected_version",
              "expected_version is 2 but the latest version of \"a\" is 3");
  // A retry that reaches another server.
  EXPECT_EQ(Append(*mine, keyed), 1);

  ASSERT_TRUE(other->SetLabel("a", "x", 1, 0).ok());
  EXPECT_EQ(mine->SetLabel("a", "x", 2, 0).status().code(), Code::kAborted);
  ASSERT_TRUE(other->SetLabel("a", "y", 3, {}).ok());
  EXPECT_EQ(mine->Delete("a", 3, {}).status().code(),
            Code::kFailedPrecondition);
}

TEST(CatalogStore, StoreThatAlwaysConflictsIsUnavailable) {
  SharedStore store;
  const std::unique_ptr<Catalog> catalog = OpenCatalog(store.Connect());
  store.FailWrites(absl::AbortedError("another came first"));
  const absl::Status status = catalog->Set(RequestFor("a")).status();
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("try again"));
}

// A store that holds what it should not.
class BrokenStore : public Store {
 public:
  explicit BrokenStore(absl::StatusOr<StoreContents> holds)
      : holds_(std::move(holds)) {}
  absl::StatusOr<StoreContents> LoadAll(memory::Ledger&) override {
    return holds_;
  }
  absl::Status AppendVersion(int64_t, std::shared_ptr<const WeightSetVersion>,
                             const std::vector<std::string>&) override {
    return absl::InternalError("broken");
  }
  absl::Status MoveLabel(int64_t, const std::string&, const std::string&,
                         int64_t) override {
    return absl::InternalError("broken");
  }
  absl::Status Delete(int64_t, const std::string&, int64_t) override {
    return absl::InternalError("broken");
  }

 private:
  const absl::StatusOr<StoreContents> holds_;
};

absl::Status Opened(absl::StatusOr<StoreContents> holds) {
  return Catalog::Open(std::make_unique<BrokenStore>(std::move(holds)),
                       NoLimit())
      .status();
}

TEST(CatalogStore, StoreThatContradictsItselfIsNotOpened) {
  const std::unique_ptr<Catalog> catalog = OpenCatalog(NewMemoryStore());
  Append(*catalog, "a");
  const auto version = *catalog->Find("a", Latest{});
  const StoredWeightSet right{"a", 1, 1, {version}, {{"x", 1}}};
  EXPECT_TRUE(Opened({{{right}, {}}}).ok());

  StoredWeightSet other_name = right;
  other_name.name = "b";
  StoredWeightSet twice = right;
  twice.versions.push_back(version);
  StoredWeightSet beyond_last = right;
  beyond_last.last_version = 0;
  StoredWeightSet dangling = right;
  dangling.labels["y"] = 2;
  for (const StoredWeightSet& wrong :
       {other_name, twice, beyond_last, dangling}) {
    EXPECT_EQ(Opened({{{wrong}, {}}}).code(), Code::kDataLoss);
  }
  EXPECT_EQ(Opened({{{right, right}, {}}}).code(), Code::kDataLoss);
}

TEST(CatalogStore, WhatTheStoreCannotAnswerForIsTold) {
  const auto catalog = OpenCatalog(std::make_unique<BrokenStore>(
      StoreContents{{}, {"version 2 of \"a\": torn"}}));
  EXPECT_THAT(catalog->damaged(), ElementsAre("version 2 of \"a\": torn"));
}

TEST(CatalogStore, StoreThatCannotBeReadIsNotOpened) {
  EXPECT_EQ(Opened(absl::UnavailableError("no route")).code(),
            Code::kUnavailable);
}

// Writers append pairs of versions with equal weights, one after the other
// under a label, and delete the oldest; readers must always see a state between
// two writes. Run under ThreadSanitizer this also shows that nothing is shared
// unguarded.
TEST(CatalogStore, ReadersSeeOnlyWholeStatesWhileWritersRun) {
  const std::unique_ptr<Catalog> catalog = OpenCatalog(NewMemoryStore());
  constexpr int kWrites = 1000;
  const auto name = [](int writer) { return absl::StrCat("w", writer); };
  for (int writer = 0; writer < 2; ++writer) {
    SetRequest first = RequestFor(name(writer), 0);
    first.labels = {"newest"};
    Append(*catalog, std::move(first));
  }
  std::atomic<int> writing{2};
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int writer = 0; writer < 2; ++writer) {
    threads.emplace_back([&, writer] {
      for (int64_t i = 1; i <= kWrites; ++i) {
        SetRequest request = RequestFor(name(writer), i);
        request.labels = {"newest"};
        request.expected_version = i;
        EXPECT_EQ(Append(*catalog, std::move(request)), i + 1);
        EXPECT_TRUE(catalog->Delete(name(writer), i, {}).ok());
      }
      --writing;
    });
  }
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&, reader] {
      int64_t newest_seen = 0;
      while (writing > 0) {
        const auto listed = catalog->Describe(name(reader), "newest");
        ASSERT_TRUE(listed.ok()) << listed.status();
        EXPECT_THAT(listed->labels, ElementsAre("newest"));
        const WeightSetVersion& version = *listed->version;
        // Versions never go back, and each has its own weights.
        EXPECT_GE(version.record().version, newest_seen);
        newest_seen = version.record().version;
        EXPECT_EQ(version.As<float>()->query.weight[0],
                  static_cast<float>((newest_seen - 1) % 128));
        // Of the versions of a name the last has the label, and only it.
        const absl::StatusOr<ListPage> page = catalog->List({});
        ASSERT_TRUE(page.ok());
        for (size_t i = 0; i < page->versions.size(); ++i) {
          const bool last_of_its_name =
              i + 1 == page->versions.size() ||
              page->versions[i + 1].version->record().name !=
                  page->versions[i].version->record().name;
          EXPECT_EQ(page->versions[i].labels.size(), last_of_its_name ? 1 : 0);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(NumberOf(*catalog, "w0", Latest{}), kWrites + 1);
  EXPECT_THAT(Seen(*catalog), SizeIs(2));
}

TEST(CatalogStore, ConcurrentCompareAndSetLetsExactlyOneThrough) {
  const std::unique_ptr<Catalog> catalog = OpenCatalog(NewMemoryStore());
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  std::atomic<int> won{0};
  std::vector<std::thread> threads;
  threads.reserve(kThreads);
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int64_t round = 0; round < kRounds;) {
        SetRequest request = RequestFor("a", thread);
        request.expected_version = round;
        const absl::Status status = catalog->Set(std::move(request)).status();
        if (status.ok()) ++won;
        EXPECT_TRUE(status.ok() || status.code() == Code::kAborted) << status;
        // Someone got through: so on to the version after it.
        round = NumberOf(*catalog, "a", Latest{});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(won, NumberOf(*catalog, "a", Latest{}));
}

}  // namespace
}  // namespace attention::weights
