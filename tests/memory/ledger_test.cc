#include "server/memory/ledger.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

namespace attention::memory {
namespace {

TEST(Ledger, AnEighthIsNeverLent) {
  Ledger ledger(800);
  EXPECT_EQ(ledger.lendable(), 700);
  EXPECT_FALSE(ledger.Take(Kind::kMessages, 701));
  EXPECT_EQ(ledger.held(), 0);
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 700));
  EXPECT_FALSE(ledger.Take(Kind::kWeights, 1));
  EXPECT_EQ(ledger.held(), 700);
}

TEST(Ledger, KnowsWhatItIsHeldFor) {
  Ledger ledger(800);
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 100));
  EXPECT_TRUE(ledger.Take(Kind::kWeights, 200));
  ledger.Give(Kind::kMessages, 60);
  EXPECT_EQ(ledger.held(Kind::kMessages), 40);
  EXPECT_EQ(ledger.held(Kind::kWeights), 200);
  EXPECT_EQ(ledger.held(Kind::kReplies), 0);
  EXPECT_EQ(ledger.held(), 240);
}

TEST(Ledger, WhatIsThereAlreadyCountsWhetherOrNotItFits) {
  Ledger ledger(800);
  ledger.Count(Kind::kArriving, 1000);
  EXPECT_EQ(ledger.held(Kind::kArriving), 1000);
  EXPECT_FALSE(ledger.Take(Kind::kMessages, 0));
  ledger.Give(Kind::kArriving, 1000);
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 1));
}

TEST(Ledger, AmountThatOverflowsIsRefused) {
  Ledger ledger(INT64_MAX);
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 1));
  EXPECT_FALSE(ledger.Take(Kind::kMessages, INT64_MAX));
  EXPECT_EQ(ledger.held(), 1);
}

TEST(Ledger, WhatIsKeptForLaterGivesWayToWhatIsNeeded) {
  Ledger ledger(800);
  int asked = 0;
  ledger.set_on_shortage([&] {
    ++asked;
    ledger.Give(Kind::kIdleBuffers, ledger.held(Kind::kIdleBuffers));
  });
  ASSERT_TRUE(ledger.Take(Kind::kIdleBuffers, 600));
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 100));
  EXPECT_EQ(asked, 0);
  EXPECT_TRUE(ledger.Take(Kind::kMessages, 600));
  EXPECT_EQ(asked, 1);
  EXPECT_FALSE(ledger.Take(Kind::kMessages, 1));
  EXPECT_EQ(asked, 1);  // there was nothing to give back
}

TEST(Ledger, ManyThreadsNeverHoldMoreThanIsLent) {
  Ledger ledger(800);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&ledger] {
      for (int turn = 0; turn < 10000; ++turn) {
        if (!ledger.Take(Kind::kMessages, 300)) continue;
        EXPECT_LE(ledger.held(), 700);
        ledger.Give(Kind::kMessages, 300);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ledger.held(), 0);
  EXPECT_EQ(ledger.held(Kind::kMessages), 0);
}

TEST(Loan, IsGivenBackWithItsObject) {
  Ledger ledger(800);
  {
    Loan loan(ledger, Kind::kUploads);
    EXPECT_TRUE(loan.Take(300));
    EXPECT_FALSE(loan.Take(401));
    EXPECT_EQ(loan.bytes(), 300);
    loan.Return(100);
    EXPECT_EQ(ledger.held(Kind::kUploads), 200);
    Loan moved = std::move(loan);
    EXPECT_EQ(moved.bytes(), 200);
    EXPECT_EQ(ledger.held(), 200);
    moved = Loan(ledger, Kind::kWeights);
    EXPECT_EQ(moved.bytes(), 0);
  }
  EXPECT_EQ(ledger.held(), 0);
}

TEST(Loan, BecomesOneForAnotherThing) {
  Ledger ledger(800);
  Loan loan(ledger, Kind::kUploads);
  ASSERT_TRUE(loan.Take(700));
  loan.Become(Kind::kWeights);
  EXPECT_EQ(ledger.held(Kind::kUploads), 0);
  EXPECT_EQ(ledger.held(Kind::kWeights), 700);
  Loan other = loan.For(Kind::kConvertedWeights);
  EXPECT_FALSE(other.Take(1));
  loan.Return(300);
  EXPECT_TRUE(other.Take(300));
  EXPECT_EQ(ledger.held(Kind::kConvertedWeights), 300);
}

TEST(Loan, OfNoLedgerIsGrantedAnything) {
  Loan loan;
  EXPECT_TRUE(loan.Take(INT64_MAX));
  EXPECT_EQ(loan.bytes(), INT64_MAX);
}

}  // namespace
}  // namespace attention::memory
