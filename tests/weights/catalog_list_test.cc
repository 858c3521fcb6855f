// Paging through the catalog.
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/weights/catalog.h"
#include "tests/weights/catalogs.h"

namespace attention::weights {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Code = absl::StatusCode;

// "a/1".
std::vector<std::string> Texts(const ListPage& page) {
  std::vector<std::string> texts;
  for (const Listed& listed : page.versions) {
    const WeightSetVersion::Record& record = listed.version->record();
    texts.push_back(absl::StrCat(record.name, "/", record.version));
  }
  return texts;
}

class CatalogListTest : public ::testing::Test {
 protected:
  CatalogListTest() {
    for (const char* name : {"b", "a", "c"}) {
      for (int i = 0; i < 3; ++i) Append(*catalog_, name);
    }
  }

  ListPage Page(const ListRequest& request) const {
    const absl::StatusOr<ListPage> page = catalog_->List(request);
    EXPECT_TRUE(page.ok()) << page.status();
    return page.ok() ? *page : ListPage();
  }

  // All pages, after each of which `between` is called.
  template <typename Between>
  std::vector<std::string> AllPages(ListRequest request, Between between) {
    std::vector<std::string> texts;
    do {
      const ListPage page = Page(request);
      EXPECT_LE(page.versions.size(), static_cast<size_t>(request.page_size));
      for (const std::string& text : Texts(page)) texts.push_back(text);
      request.page_token = page.next_page_token;
      between();
    } while (!request.page_token.empty() && texts.size() < 1000);
    return texts;
  }
  std::vector<std::string> AllPages(const ListRequest& request) {
    return AllPages(request, [] {});
  }

  const std::unique_ptr<Catalog> catalog_ = OpenCatalog(NewMemoryStore());
};

TEST_F(CatalogListTest, VersionsComeByNameThenNumber) {
  const ListPage page = Page({});
  EXPECT_THAT(Texts(page), ElementsAre("a/1", "a/2", "a/3", "b/1", "b/2", "b/3",
                                       "c/1", "c/2", "c/3"));
  EXPECT_EQ(page.next_page_token, "");
}

TEST_F(CatalogListTest, PagesOfAnySizeTogetherAreEverything) {
  const std::vector<std::string> everything = Texts(Page({}));
  for (int32_t page_size = 1; page_size <= 10; ++page_size) {
    EXPECT_EQ(AllPages({.page_size = page_size}), everything) << page_size;
  }
}

TEST_F(CatalogListTest, NameAndLatestOnlySelect) {
  EXPECT_THAT(AllPages({.name = "b", .page_size = 2}),
              ElementsAre("b/1", "b/2", "b/3"));
  EXPECT_THAT(AllPages({.latest_only = true, .page_size = 2}),
              ElementsAre("a/3", "b/3", "c/3"));
  EXPECT_THAT(AllPages({.name = "b", .latest_only = true, .page_size = 1}),
              ElementsAre("b/3"));
}

TEST_F(CatalogListTest, UnknownNameIsNotFound) {
  ExpectError(catalog_->List({.name = "d"}).status(), Code::kNotFound, "name",
              R"(name is "d"; there are the weight sets "a", "b", "c")");
  EXPECT_EQ(ErrorField(catalog_->List({.name = "-"}).status()), "name");
}

TEST_F(CatalogListTest, LabelsAreListedWithTheirVersion) {
  ASSERT_TRUE(catalog_->SetLabel("a", "x", 2, {}).ok());
  ASSERT_TRUE(catalog_->SetLabel("a", "w", 2, {}).ok());
  const ListPage page = Page({.name = "a"});
  EXPECT_THAT(page.versions[0].labels, IsEmpty());
  EXPECT_THAT(page.versions[1].labels, ElementsAre("w", "x"));
}

TEST_F(CatalogListTest, PageSizeIsOneHundredByDefaultAndOneThousandAtMost) {
  for (int i = 0; i < 1001; ++i) Append(*catalog_, "many");
  EXPECT_THAT(Page({}).versions, SizeIs(100));
  EXPECT_THAT(Page({.page_size = 1000}).versions, SizeIs(1000));
  for (const int32_t page_size : {-1, 1001}) {
    ExpectError(catalog_->List({.page_size = page_size}).status(),
                Code::kInvalidArgument, "page_size",
                absl::StrCat("page_size is ", page_size,
                             "; expected 0 (for 100) to 1000"));
  }
}

TEST_F(CatalogListTest, WhatStaysIsListedOnceWhateverComesAndGoes) {
  int round = 0;
  const std::vector<std::string> listed = AllPages({.page_size = 1}, [&] {
    // Before, at and behind where the listing stands.
    Append(*catalog_, absl::StrCat("a0", round));
    Append(*catalog_, absl::StrCat("c0", round++));
    if (round == 1) {
      EXPECT_TRUE(catalog_->Delete("a", 1, {}).ok());
    }
    if (round == 5) {
      EXPECT_TRUE(catalog_->Delete("b", {}, {}).ok());
    }
  });
  EXPECT_THAT(std::set<std::string>(listed.begin(), listed.end()),
              SizeIs(listed.size()))
      << "nothing twice";
  EXPECT_THAT(listed,
              testing::IsSupersetOf({"a/2", "a/3", "c/1", "c/2", "c/3"}));
}

TEST_F(CatalogListTest, LatestOnlyListsNoNameTwiceWhenAVersionIsAppended) {
  EXPECT_THAT(AllPages({.latest_only = true, .page_size = 1},
                       [&] { Append(*catalog_, "a"); }),
              ElementsAre("a/3", "b/3", "c/3"));
}

TEST_F(CatalogListTest, TokenOfAnotherListingIsRefused) {
  const std::string token = Page({.page_size = 1}).next_page_token;
  const std::string of_a = Page({.name = "a", .page_size = 1}).next_page_token;
  ExpectError(
      catalog_->List({.latest_only = true, .page_token = token}).status(),
      Code::kInvalidArgument, "page_token",
      "page_token is of a listing with name \"\" and latest_only false; "
      "expected the same name and latest_only here");
  EXPECT_EQ(
      ErrorField(catalog_->List({.name = "b", .page_token = of_a}).status()),
      "page_token");
  EXPECT_EQ(ErrorField(catalog_->List({.page_token = of_a}).status()),
            "page_token");
  EXPECT_EQ(
      ErrorField(catalog_->List({.name = "a", .page_token = token}).status()),
      "page_token");
}

TEST_F(CatalogListTest, TokenWithAnyBitChangedIsRefused) {
  const std::string token = Page({.page_size = 4}).next_page_token;
  EXPECT_THAT(Texts(Page({.page_token = token})),
              ElementsAre("b/2", "b/3", "c/1", "c/2", "c/3"));
  for (size_t i = 0; i < token.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string changed = token;
      changed[i] = static_cast<char>(changed[i] ^ (1 << bit));
      EXPECT_EQ(ErrorField(catalog_->List({.page_token = changed}).status()),
                "page_token")
          << changed;
    }
    EXPECT_FALSE(catalog_->List({.page_token = token.substr(0, i + 1)}).ok() &&
                 i + 1 < token.size());
  }
}

TEST_F(CatalogListTest, GarbageTokenIsRefused) {
  for (const std::string& token :
       {std::string("x"), std::string("\xff\xfe"), std::string(1 << 20, 'A'),
        std::string("all a b 1 0"), std::string(" "), std::string("\0", 1)}) {
    const absl::Status status = catalog_->List({.page_token = token}).status();
    EXPECT_EQ(status.code(), Code::kInvalidArgument);
    EXPECT_EQ(ErrorField(status), "page_token");
    EXPECT_LT(status.message().size(), 1000u);
  }
}

TEST_F(CatalogListTest, TokensOfTheLongestNamesAreAccepted) {
  const std::string name(128, 'n');
  Append(*catalog_, name);
  Append(*catalog_, name);
  EXPECT_THAT(AllPages({.name = name, .page_size = 1}), SizeIs(2));
}

}  // namespace
}  // namespace attention::weights
