#include "server/port_file.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "gmock/gmock.h"
#include "tests/support/scratch_folder.h"

namespace attention::server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Text(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

class PortFileTest : public ::testing::Test {
 protected:
  const ScratchFolder folder_;
  const std::string path_ = folder_ / "port";
};

TEST_F(PortFileTest, AnOrdinaryFileIsThereAsLongAsTheServer) {
  {
    PortFile file(path_);
    ASSERT_TRUE(file.Write(50051).ok());
    EXPECT_EQ(Text(path_), "50051\n");
  }
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

TEST_F(PortFileTest, ALinkIsWrittenThroughAndStays) {
  const std::string target = folder_ / "target";
  fs::create_symlink(target, path_);
  {
    PortFile file(path_);
    ASSERT_TRUE(file.Write(50051).ok());
  }
  EXPECT_TRUE(fs::is_symlink(path_));
  EXPECT_EQ(Text(target), "50051\n");
}

TEST_F(PortFileTest, WhatCannotBeWrittenNamesThePathAndLeavesNothing) {
  fs::create_directory(path_);
  {
    PortFile file(path_);
    const absl::Status status = file.Write(50051);
    EXPECT_THAT(std::string(status.message()), HasSubstr(path_));
  }
  EXPECT_TRUE(fs::is_empty(path_));
  PortFile nowhere(folder_ / "no/where");
  EXPECT_FALSE(nowhere.Write(50051).ok());
}

}  // namespace
}  // namespace attention::server
