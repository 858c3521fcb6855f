// `attention compute --stream` against a server of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>

#include "attention/client.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/compute_stream.h"
#include "client/cpp/cli/json_text.h"
#include "nlohmann/json.hpp"
#include "tests/support/service_fixture.h"

namespace attention::client {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using Json = nlohmann::json;

constexpr char kTwoRows[] =
    R"({"query": {"dtype": "DATA_TYPE_FLOAT32", "shape": [2, 1], )"
    R"("values": [0, 1]}})";

class CliStreamTest : public ::testing::Test {
 protected:
  // Runs the command over `lines`; fills answers_.
  absl::Status Run(const std::string& lines, const RequestFlags& flags = {}) {
    std::istringstream in(lines);
    std::ostringstream out;
    absl::Status status = ComputeStream(flags, "lines", in,
                                        [&](const std::string& answer) {
                                          out << answer;
                                          return absl::OkStatus();
                                        },
                                        {client_, {}});
    std::istringstream written(out.str());
    std::string line;
    while (std::getline(written, line)) {
      Json answer = Json::parse(line);
      const auto id = answer["id"].get<int>();
      EXPECT_TRUE(answers_.emplace(id, std::move(answer)).second) << id;
    }
    return status;
  }

  TestServer server_;
  Client client_{server_.target()};
  std::map<int, Json> answers_;
};

TEST_F(CliStreamTest, EachLineIsAnsweredByItsNumber) {
  const std::string line(kTwoRows);
  EXPECT_TRUE(Run(line + "\n\n" + line + "\n" + line).ok());
  ASSERT_THAT(answers_, SizeIs(3));
  for (const int id : {1, 3, 4}) {
    const Json& output = answers_.at(id)["response"]["output"];
    EXPECT_EQ(output["shape"], Json::parse(R"(["2", "1"])"));
    EXPECT_THAT(output["values"], SizeIs(2));
  }
}

TEST_F(CliStreamTest, FlagsReplaceFieldsOfEveryLine) {
  RequestFlags flags;
  flags.positions.causal = true;
  flags.show.lse = true;
  EXPECT_TRUE(Run(std::string(kTwoRows) + "\n" + kTwoRows, flags).ok());
  for (const int id : {1, 2}) {
    // The first row sees itself alone, so it is its own output.
    EXPECT_EQ(answers_.at(id)["response"]["output"]["values"][0], 0);
    EXPECT_TRUE(answers_.at(id)["response"].contains("lse"));
  }
}

TEST_F(CliStreamTest, RefusalIsALineAndEndsInOne) {
  const absl::Status status = Run(std::string(kTwoRows) + "\n{}\n" + kTwoRows);
  EXPECT_EQ(ExitCodeOf(status), kExitRefused);
  EXPECT_THAT(std::string(status.message()), HasSubstr("1 of 3"));
  ASSERT_THAT(answers_, SizeIs(3));
  const Json& error = answers_.at(2)["error"];
  EXPECT_EQ(error["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(error["message"], "query is required");
  EXPECT_EQ(error["violations"][0]["field"], "query");
  EXPECT_TRUE(answers_.at(3).contains("response"));
}

TEST_F(CliStreamTest, BrokenLineIsAUsageErrorByItsNumber) {
  const absl::Status status =
      Run(std::string(kTwoRows) + "\nnonsense\n" + kTwoRows);
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(std::string(status.message()), HasSubstr("lines:2"));
  EXPECT_THAT(answers_, SizeIs(1));
}

TEST_F(CliStreamTest, ServerThatIsGoneIsNoAnswer) {
  server_.server().Stop();
  EXPECT_EQ(ExitCodeOf(Run(kTwoRows)), kExitNoAnswer);
}

}  // namespace
}  // namespace attention::client
