#include "server/rpc/door/line_limit.h"

#include <gtest/gtest.h>

#include <chrono>

namespace attention::rpc {
namespace {

using std::chrono::milliseconds;

const LineLimit::Clock::time_point kStart(std::chrono::hours(1));

TEST(LineLimit, SoManyAreWrittenInASecondAndNoMore) {
  LineLimit lines(3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(lines.Ask(kStart + milliseconds(300 * i)).write) << i;
  }
  EXPECT_FALSE(lines.Ask(kStart + milliseconds(999)).write);
}

TEST(LineLimit, TheNextSecondHasItsOwn) {
  LineLimit lines(2);
  for (const int second : {0, 1, 2, 10}) {
    const auto now = kStart + std::chrono::seconds(second);
    EXPECT_TRUE(lines.Ask(now).write) << second;
    EXPECT_TRUE(lines.Ask(now).write) << second;
    EXPECT_FALSE(lines.Ask(now).write) << second;
  }
}

TEST(LineLimit, APeriodMayBeAnother) {
  LineLimit lines(1, std::chrono::minutes(1));
  EXPECT_TRUE(lines.Ask(kStart).write);
  EXPECT_FALSE(lines.Ask(kStart + std::chrono::seconds(59)).write);
  EXPECT_TRUE(lines.Ask(kStart + std::chrono::seconds(60)).write);
}

TEST(LineLimit, TheNextLineTellsOnceHowManyWereLeftOut) {
  LineLimit lines(1);
  EXPECT_EQ(lines.Ask(kStart).left_out, 0);
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(lines.Ask(kStart).write);
  EXPECT_EQ(lines.Ask(kStart + std::chrono::seconds(1)).left_out, 5);
  EXPECT_EQ(lines.Ask(kStart + std::chrono::seconds(2)).left_out, 0);
}

TEST(LineLimit, WhatNoLineHasToldIsThereForTheLast) {
  LineLimit lines(1);
  EXPECT_TRUE(lines.Ask(kStart).write);
  EXPECT_FALSE(lines.Ask(kStart).write);
  EXPECT_EQ(lines.TakeLeftOut(), 1);
  EXPECT_EQ(lines.TakeLeftOut(), 0);
}

}  // namespace
}  // namespace attention::rpc
