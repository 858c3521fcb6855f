#include "client/cpp/cli/progress_bar.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace attention::client {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr int64_t kMebi = int64_t{1} << 20;

// A terminal whose clock and columns the test sets.
class ProgressBarTest : public ::testing::Test {
 protected:
  ProgressBar::Terminal Terminal() {
    return {[this] { return width_; }, [this] { return now_; },
            [this](absl::string_view text) { written_.emplace_back(text); }};
  }

  // The bar after `time` since its start with so much done, without \r.
  std::string LineAt(milliseconds time, int64_t bytes, int64_t total) {
    written_.clear();
    ProgressBar bar("layer0", Terminal());
    now_ += time;
    bar.Show(bytes, total);
    return written_.empty() ? "" : written_.front().substr(1);
  }

  int width_ = 80;
  ProgressBar::Clock::time_point now_;
  std::vector<std::string> written_;
};

TEST_F(ProgressBarTest, LineTellsShareBytesRateAndTimeLeft) {
  EXPECT_EQ(LineAt(milliseconds(2000), 512 * kMebi, 1024 * kMebi),
            "layer0 [##########-----------]  50% 512.0 MiB of 1.0 GiB, "
            "256.0 MiB/s, 2 s left");
}

TEST_F(ProgressBarTest, ShortTransferShowsNothing) {
  {
    ProgressBar bar("layer0", Terminal());
    for (int i = 1; i <= 4; ++i) {
      now_ += milliseconds(100);
      bar.Show(i, 4);
    }
  }
  EXPECT_THAT(written_, IsEmpty());
}

TEST_F(ProgressBarTest, IsDrawnAtMostTenTimesASecond) {
  ProgressBar bar("layer0", Terminal());
  for (int i = 0; i < 1500; ++i) {
    now_ += milliseconds(1);
    bar.Show(i, 1500);
  }
  EXPECT_THAT(written_, SizeIs(11));
}

TEST_F(ProgressBarTest, LineIsDrawnInItsPlaceAndWiped) {
  std::string line;
  {
    ProgressBar bar("layer0", Terminal());
    now_ += milliseconds(1000);
    bar.Show(kMebi, 100 * kMebi);
    ASSERT_THAT(written_, SizeIs(1));
    line = written_.front();
    // A shorter line covers the longer one before it.
    width_ = 40;
    now_ += milliseconds(100);
    bar.Show(2 * kMebi, 100 * kMebi);
    ASSERT_THAT(written_, SizeIs(2));
    EXPECT_EQ(written_[1].size(), line.size());
  }
  ASSERT_THAT(written_, SizeIs(3));
  EXPECT_EQ(written_[2].substr(0, 2), "\r ");
  EXPECT_EQ(written_[2].back(), '\r');
  for (const std::string& text : written_) {
    EXPECT_EQ(text.front(), '\r');
    EXPECT_THAT(text, Not(HasSubstr("\n")));
  }
}

TEST_F(ProgressBarTest, LineFitsItsTerminal) {
  for (width_ = 1; width_ < 200; ++width_) {
    const std::string line =
        LineAt(milliseconds(1000), 300 * kMebi, 1024 * kMebi);
    EXPECT_LT(static_cast<int>(line.size()), width_);
    if (width_ < 70) continue;
    EXPECT_THAT(line, HasSubstr("s left")) << width_;
  }
  width_ = 200;
  EXPECT_THAT(LineAt(milliseconds(1000), 1024 * kMebi, 1024 * kMebi),
              HasSubstr("[" + std::string(40, '#') + "] 100%"));
  // Too narrow for a bar, the figures are still there.
  width_ = 68;
  EXPECT_THAT(LineAt(milliseconds(1000), 300 * kMebi, 1024 * kMebi),
              Not(HasSubstr("[")));
}

TEST_F(ProgressBarTest, FiguresAreThoseOfAPerson) {
  EXPECT_THAT(LineAt(milliseconds(1000), 1000, int64_t{90} * 1000),
              HasSubstr("  1% 1000 B of 87.9 KiB, 1000 B/s, 1 min 29 s left"));
}

TEST_F(ProgressBarTest, TimeLeftIsCountedInUnitsThatFit) {
  EXPECT_THAT(LineAt(milliseconds(1000), 1, 8001),
              HasSubstr("2 h 13 min left"));
  EXPECT_THAT(LineAt(milliseconds(1000), 1, 66), HasSubstr("1 min 05 s left"));
  EXPECT_THAT(LineAt(milliseconds(1000), 0, 66),
              HasSubstr("0 B/s, more than 99 h left"));
  EXPECT_THAT(LineAt(milliseconds(1000), 66, 66), HasSubstr("0 s left"));
  EXPECT_THAT(LineAt(milliseconds(1000), 0, 0), HasSubstr("100%"));
}

// Puts `file` in place of the standard error while it lives.
class StandardError {
 public:
  explicit StandardError(int file) : saved_(dup(STDERR_FILENO)) {
    dup2(file, STDERR_FILENO);
    close(file);
  }
  ~StandardError() {
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  StandardError(const StandardError&) = delete;
  StandardError& operator=(const StandardError&) = delete;

 private:
  const int saved_;
};

TEST(ShowProgress, IsSilentWhereThereIsNoTerminal) {
  const StandardError nowhere(open("/dev/null", O_WRONLY));
  EXPECT_EQ(ShowProgress("layer0", /*quiet=*/false), nullptr);
}

TEST(ShowProgress, DrawsOnATerminalUnlessQuiet) {
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(terminal, 0);
  ASSERT_EQ(grantpt(terminal), 0);
  ASSERT_EQ(unlockpt(terminal), 0);
  const StandardError on_terminal(open(ptsname(terminal), O_WRONLY | O_NOCTTY));
  EXPECT_EQ(ShowProgress("layer0", /*quiet=*/true), nullptr);
  OnProgress on_progress = ShowProgress("layer0", /*quiet=*/false);
  ASSERT_NE(on_progress, nullptr);
  usleep(600'000);  // the bar's own delay, on the real clock
  on_progress(1, 2);
  char text[256] = {};
  ASSERT_GT(read(terminal, text, sizeof(text) - 1), 0);
  EXPECT_THAT(text, HasSubstr("layer0 ["));
  close(terminal);
}

}  // namespace
}  // namespace attention::client
