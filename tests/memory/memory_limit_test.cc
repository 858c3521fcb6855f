#include "server/memory/memory_limit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "tests/support/scratch_folder.h"

namespace attention::memory {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class CgroupMemoryTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = mount_ + "/" + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  const ScratchFolder folder_;
  const std::string mount_ = folder_.path();
};

TEST_F(CgroupMemoryTest, VersionTwoLimitIsTheSmallestOnTheWayUp) {
  Write("a/memory.max", "1000\n");
  Write("a/b/memory.max", "4000\n");
  Write("a/b/c/memory.max", "max\n");
  EXPECT_EQ(CgroupMemoryLimit("0::/a/b/c\n", mount_), 1000);
  EXPECT_EQ(CgroupMemoryLimit("0::/\n", mount_), std::nullopt);
}

TEST_F(CgroupMemoryTest, VersionOneLimitIsRead) {
  Write("memory/a/memory.limit_in_bytes", "2000\n");
  EXPECT_EQ(CgroupMemoryLimit("2:cpu:/b\n3:memory:/a\n", mount_), 2000);
  EXPECT_EQ(CgroupMemoryLimit("2:cpu:/a\n", mount_), std::nullopt);
}

TEST_F(CgroupMemoryTest, GroupThatIsNotMountedHereFallsBackToTheMount) {
  Write("memory.max", "3000\n");
  EXPECT_EQ(CgroupMemoryLimit("0::/docker/0123\n", mount_), 3000);
}

TEST(MemoryLimit, FlagIsTakenAsItIs) {
  const auto limit = MemoryLimitFor(800, 700);
  ASSERT_TRUE(limit.ok()) << limit.status();
  EXPECT_EQ(limit->bytes, 800);
  EXPECT_EQ(limit->from, "--memory-limit");
}

TEST(MemoryLimit, TooLittleToWorkIsRefusedWithFigures) {
  const auto limit = MemoryLimitFor(798, 700);
  EXPECT_EQ(limit.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(limit.status().message()),
              AllOf(HasSubstr("798 bytes (--memory-limit)"), HasSubstr("699"),
                    HasSubstr("700"), HasSubstr("--max-message-bytes")));
}

TEST(MemoryLimit, AddressSpaceIsAmongWhatIsPossible) {
  const int64_t without = PossibleMemoryLimit(RLIM_INFINITY).bytes;
  const MemoryLimit limit =
      PossibleMemoryLimit(static_cast<rlim_t>(kBesideMapped + without / 2));
  EXPECT_EQ(limit.bytes, without / 2);
  EXPECT_THAT(limit.from, HasSubstr("ulimit -v"));
}

}  // namespace
}  // namespace attention::memory
