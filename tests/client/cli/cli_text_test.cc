// What the command line reads and prints: files, numbers, tables.
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "attention/tensor.h"
#include "client/cpp/cli/array_file.h"
#include "client/cpp/cli/cli_status.h"
#include "client/cpp/cli/flags.h"
#include "client/cpp/cli/json_text.h"
#include "client/cpp/cli/number_text.h"
#include "client/cpp/cli/table.h"
#include "client/cpp/cli/tensor_file.h"
#include "client/cpp/files/byte_source.h"
#include "client/cpp/files/csv.h"
#include "gmock/gmock.h"

namespace attention::client {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

// A file with `text` that is gone after the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text, const std::string& name = "f")
      : path_(::testing::TempDir() + "/cli_text_test." + name + "." +
              std::to_string(getpid())) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(CliStatusTest, MemoryThatIsNotToBeHadIsAnErrorOfUsage) {
  EXPECT_TRUE(WithinMemory([] { return absl::OkStatus(); }).ok());
  const absl::Status status =
      WithinMemory([]() -> absl::Status { throw std::bad_alloc(); });
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(Message(status), HasSubstr("out of memory"));
}

TEST(JsonArrayTest, NestingIsTheShape) {
  const auto array = ArrayFromJson("[[[1, 2]], [[3, 4]], [[5, -6e-3]]]", "x");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(3, 1, 2));
  EXPECT_THAT(array->elements, ElementsAre(1, 2, 3, 4, 5, -6e-3));
}

TEST(JsonArrayTest, EmptyAxesAreKept) {
  EXPECT_THAT(ArrayFromJson("[]", "x")->shape, ElementsAre(0));
  EXPECT_THAT(ArrayFromJson("[[], []]", "x")->shape, ElementsAre(2, 0));
}

TEST(JsonArrayTest, BooleansAndInfinitiesAreElements) {
  const auto array =
      ArrayFromJson(R"([true, false, "-Infinity", "Infinity", "NaN"])", "x");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(
      std::vector<double>(array->elements.begin(), array->elements.begin() + 4),
      ElementsAre(1, 0, -kInfinity, kInfinity));
  EXPECT_TRUE(std::isnan(array->elements[4]));
}

TEST(JsonArrayTest, ZeroKeepsItsSign) {
  const auto array = ArrayFromJson("[-0, -0.0, 0, -0e0, -0.5]", "x");
  ASSERT_TRUE(array.ok()) << array.status();
  std::vector<bool> signs;
  for (const double element : array->elements) {
    signs.push_back(std::signbit(element));
  }
  EXPECT_THAT(signs, ElementsAre(true, true, false, true, true));
}

TEST(JsonArrayTest, RaggedArrayIsRefusedByPlace) {
  EXPECT_THAT(Message(ArrayFromJson("[[1, 2], [3]]", "x.json").status()),
              HasSubstr("x.json: at [1]: has 1 entries but 2"));
  EXPECT_THAT(Message(ArrayFromJson("[[1, 2], 3]", "x.json").status()),
              HasSubstr("at [1]: expected an array, found 3"));
  EXPECT_THAT(Message(ArrayFromJson("[[1, [2]]]", "x.json").status()),
              HasSubstr("at [0][1]: expected a number, found an array"));
  EXPECT_THAT(Message(ArrayFromJson("[1, \"two\"]", "x.json").status()),
              HasSubstr("at [1]: expected a number, found \"two\""));
  EXPECT_THAT(Message(ArrayFromJson("7", "x.json").status()),
              HasSubstr("expected an array"));
}

TEST(JsonArrayTest, BrokenTextIsRefusedByLine) {
  const absl::Status status =
      ArrayFromJson("[[1, 2],\n [3, ]]", "x.json").status();
  EXPECT_THAT(Message(status), HasSubstr("x.json: is not JSON"));
  EXPECT_THAT(Message(status), HasSubstr("line 2"));
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
}

TEST(JsonArrayTest, DeepNestingIsRefused) {
  constexpr size_t kDepth = 100000;
  const std::string text =
      std::string(kDepth, '[') + "1" + std::string(kDepth, ']');
  EXPECT_THAT(Message(ArrayFromJson(text, "x").status()),
              HasSubstr("nested too deeply"));
}

absl::StatusOr<files::Array> ReadCsv(const std::string& text) {
  return files::ReadCsv(files::MemorySource("x.csv", text),
                        files::ElementType::kFloat64, {});
}

TEST(CsvTest, RowsAndColumnsAreTheShape) {
  const auto array = ReadCsv("1, 2,3\r\n\n4,-5e2,inf\n");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_THAT(array->shape, ElementsAre(2, 3));
  std::vector<double> elements;
  elements.reserve(6);
  for (int i = 0; i < 6; ++i) elements.push_back(ElementAt(*array, i));
  EXPECT_THAT(elements, ElementsAre(1, 2, 3, 4, -500, kInfinity));
}

TEST(CsvTest, ByteOrderMarkIsNoNumber) {
  const auto array = ReadCsv(
      "\xef\xbb\xbf"
      "1,2\n3,4\n");
  ASSERT_TRUE(array.ok()) << array.status();
  EXPECT_EQ(ElementAt(*array, 0), 1);
  EXPECT_THAT(Message(ReadCsv("1,2\n\xef\xbb\xbf"
                              "3,4\n")
                          .status()),
              HasSubstr("x.csv:2: column 1 is"));
}

TEST(CsvTest, FaultIsNamedByLineAndColumn) {
  EXPECT_THAT(Message(ReadCsv("1,2\n3,x\n").status()),
              HasSubstr("x.csv:2: column 2 is \"x\""));
  EXPECT_THAT(Message(ReadCsv("1,2\n\n3\n").status()),
              HasSubstr("x.csv:3: has 1 columns but the first row has 2"));
  EXPECT_THAT(Message(ReadCsv("1,\n").status()),
              HasSubstr("x.csv:1: column 2 is \"\""));
  EXPECT_THAT(Message(ReadCsv("\n").status()), HasSubstr("x.csv: is empty"));
}

TEST(FileTest, MissingFileAndDirectoryAreUsageErrors) {
  for (const std::string& path :
       {::testing::TempDir() + "/no/such/file", ::testing::TempDir()}) {
    const absl::Status status = ReadFile(path).status();
    EXPECT_EQ(ExitCodeOf(status), kExitUsage) << path;
    EXPECT_THAT(Message(status), HasSubstr(path));
  }
  EXPECT_EQ(ExitCodeOf(WriteFile(::testing::TempDir(), "text")), kExitUsage);
}

TEST(TensorFileTest, EveryFormIsRead) {
  const TemporaryFile json("[[1, 0.1]]", "json");
  const TemporaryFile csv("1,0.1\n", "csv");
  const TemporaryFile message(
      R"({"dtype": "DATA_TYPE_FLOAT32", "shape": [1, 2], "values": [1, 0.1]})",
      "message");
  for (const auto* file : {&json, &csv, &message}) {
    const auto tensor = ReadTensor(file->path(), v1::DATA_TYPE_FLOAT32);
    ASSERT_TRUE(tensor.ok()) << tensor.status();
    EXPECT_EQ(tensor->dtype(), v1::DATA_TYPE_FLOAT32);
    EXPECT_THAT(tensor->shape(), ElementsAre(1, 2));
    EXPECT_THAT(ReadFloats(*tensor).value(), ElementsAre(1.0f, 0.1f));
  }
}

TEST(TensorFileTest, NumberBeyondTheDtypeIsAUsageError) {
  const TemporaryFile file("1,70000\n");
  const absl::Status status =
      ReadTensor(file.path(), v1::DATA_TYPE_FLOAT16).status();
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(Message(status),
              HasSubstr(":1: column 2 is 70000, which is beyond"));
}

TEST(TensorFileTest, MaskTakesZeroAndOneOnly) {
  const TemporaryFile good("true,0\n1,false\n", "good");
  EXPECT_THAT(
      ReadMask(ReadTensor(good.path(), v1::DATA_TYPE_BOOL).value()).value(),
      ElementsAre(1, 0, 1, 0));
  const TemporaryFile bad("1,0.5\n", "bad");
  EXPECT_THAT(Message(ReadTensor(bad.path(), v1::DATA_TYPE_BOOL).status()),
              HasSubstr(":1: column 2 is 0.5; a mask takes"));
}

// `tensor` as a file of `format`.
absl::Status WriteTensor(const v1::Tensor& tensor, FileFormat format,
                         const std::string& path) {
  absl::StatusOr<files::Array> array = ArrayOf(tensor);
  if (!array.ok()) return array.status();
  const NamedOutput outputs[] = {{"output", *std::move(array)}};
  return WriteArrays(path, format, outputs);
}

TEST(TensorFileTest, CsvHoldsRankTwoOnly) {
  const v1::Tensor tensor = MakeTensor(std::vector<float>{1, 2}, {1, 1, 2});
  const TemporaryFile file("", "out");
  ASSERT_TRUE(WriteTensor(tensor, FileFormat::kJson, file.path()).ok());
  EXPECT_EQ(ReadFile(file.path()).value(), "[[[1, 2]]]\n");
  const absl::Status status =
      WriteTensor(tensor, FileFormat::kCsv, file.path());
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(Message(status), HasSubstr("use json"));
  EXPECT_EQ(ReadFile(file.path()).value(), "[[[1, 2]]]\n") << "was emptied";
}

TEST(TensorFileTest, FileKeepsItsTypeAndTextBecomesTheWanted) {
  const TemporaryFile file("", "npy");
  const v1::Tensor half =
      MakeTensor({1, 0.5}, {1, 2}, v1::DATA_TYPE_FLOAT16).value();
  ASSERT_TRUE(WriteTensor(half, FileFormat::kNpy, file.path()).ok());
  const auto read = ReadTensor(file.path(), v1::DATA_TYPE_FLOAT32);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), half.SerializeAsString());

  v1::Tensor converted = *read;
  ASSERT_TRUE(ConvertTensor(v1::DATA_TYPE_FLOAT64, "x", converted).ok());
  EXPECT_EQ(converted.dtype(), v1::DATA_TYPE_FLOAT64);
  EXPECT_THAT(ReadDoubles(converted).value(), ElementsAre(1, 0.5));
  v1::Tensor large = MakeTensor(std::vector<float>{70000}, {1});
  EXPECT_THAT(Message(ConvertTensor(v1::DATA_TYPE_FLOAT16, "--query", large)),
              HasSubstr("--query: "));
}

TEST(TensorFileTest, NumbersInABinaryFileAreNoMask) {
  const TemporaryFile file("", "npy");
  const v1::Tensor zeros = MakeTensor(std::vector<float>{0, 1}, {1, 2});
  ASSERT_TRUE(WriteTensor(zeros, FileFormat::kNpy, file.path()).ok());
  EXPECT_THAT(Message(ReadTensor(file.path(), v1::DATA_TYPE_BOOL).status()),
              HasSubstr("is float32; a mask is bool, true = attend"));
}

TEST(NumberTextTest, Float32HasItsOwnShortestDigits) {
  EXPECT_EQ(ShortestText(ShortestDouble(0.1f, v1::DATA_TYPE_FLOAT32)), "0.1");
  EXPECT_EQ(ShortestText(ShortestDouble(0.1f, v1::DATA_TYPE_FLOAT64)),
            "0.10000000149011612");
  EXPECT_EQ(ShortestText(-kInfinity), "-inf");
  EXPECT_EQ(ShortestText(-0.0), "-0.0");
}

// Every element survives the way to text and back, in both formats.
template <typename T>
void ExpectRoundTrip(const std::vector<T>& elements, v1::DataType dtype) {
  const auto count = static_cast<int64_t>(elements.size());
  const v1::Tensor tensor = MakeTensor(elements, {1, count});
  for (const FileFormat format : {FileFormat::kJson, FileFormat::kCsv}) {
    const TemporaryFile file("");
    ASSERT_TRUE(WriteTensor(tensor, format, file.path()).ok());
    const auto read = ReadTensor(file.path(), dtype);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(read->data() == tensor.data());
  }
  v1::Tensor from_message;
  ASSERT_TRUE(
      MessageFromJson(MessageToJson(tensor), "message", from_message).ok());
  // Compared as bits, since 0 == -0.
  v1::Tensor expected = tensor;
  MakeReadable(expected);
  EXPECT_TRUE(from_message.SerializeAsString() == expected.SerializeAsString());
}

TEST(NumberTextTest, EveryNumberSurvivesText) {
  constexpr int kCount = 20000;
  std::mt19937_64 random(1);
  std::vector<float> singles = {0, -0.0f, std::numeric_limits<float>::max(),
                                std::numeric_limits<float>::min(),
                                std::numeric_limits<float>::denorm_min()};
  std::vector<double> doubles = {0, -0.0, std::numeric_limits<double>::max(),
                                 std::numeric_limits<double>::min(),
                                 std::numeric_limits<double>::denorm_min()};
  while (singles.size() < kCount) {
    const auto bits = static_cast<uint32_t>(random());
    float single = 0;
    std::memcpy(&single, &bits, sizeof(single));
    if (std::isfinite(single)) singles.push_back(single);
  }
  while (doubles.size() < kCount) {
    const uint64_t bits = random();
    double number = 0;
    std::memcpy(&number, &bits, sizeof(number));
    if (std::isfinite(number)) doubles.push_back(number);
  }
  ExpectRoundTrip(singles, v1::DATA_TYPE_FLOAT32);
  ExpectRoundTrip(doubles, v1::DATA_TYPE_FLOAT64);
}

TEST(JsonTextTest, TensorsAtAnyDepthAreReadable) {
  v1::SetWeightsRequest request;
  auto& weights = *request.mutable_weights();
  *weights.mutable_query()->mutable_weight() =
      MakeTensor(std::vector<float>{0.1f, 0.2f}, {1, 2});
  *weights.mutable_output()->mutable_bias() =
      MakeTensor(std::vector<float>{0.3f}, {1});
  const std::string text = MessageToJson(request);
  EXPECT_THAT(text, HasSubstr("\"values\": [0.1, 0.2]"));
  EXPECT_THAT(text, HasSubstr("\"values\": [0.3]"));
}

TEST(JsonTextTest, UnknownFieldIsRefusedByName) {
  v1::ComputeAttentionRequest request;
  const absl::Status status =
      MessageFromJson(R"({"cusal": true})", "r.json", request);
  EXPECT_EQ(ExitCodeOf(status), kExitUsage);
  EXPECT_THAT(Message(status), HasSubstr("r.json"));
  EXPECT_THAT(Message(status), HasSubstr("cusal"));
}

TEST(TableTest, NumbersHaveFourDigits) {
  EXPECT_EQ(FourDigits(0.24226), "0.2423");
  EXPECT_EQ(FourDigits(-0.00001), "0.0000");
  EXPECT_EQ(FourDigits(-kInfinity), "-inf");
  EXPECT_EQ(FourDigits(1.5e-7, true), "1.5000e-07");
}

TEST(TableTest, EachMatrixHasItsIndex) {
  const v1::Tensor tensor =
      MakeTensor(std::vector<float>{1, -2, 3, 4, 5, 6, 7, 8}, {2, 1, 2, 2});
  EXPECT_EQ(TensorTable("matrix", tensor).value(),
            "matrix[0][0]\n"
            "  1.0000  -2.0000\n"
            "  3.0000   4.0000\n"
            "matrix[1][0]\n"
            "  5.0000  6.0000\n"
            "  7.0000  8.0000\n");
}

TEST(TableTest, SmallNumbersAreNotHidden) {
  EXPECT_THAT(
      TensorTable("lse", MakeTensor(std::vector<float>{1e-6f}, {1})).value(),
      HasSubstr("1.0000e-06"));
}

TEST(TableTest, EmptyTensorSaysSo) {
  const v1::Tensor tensor = MakeTensor(std::vector<float>{}, {0, 3});
  EXPECT_EQ(TensorTable("output", tensor).value(), "output is empty\n");
}

TEST(TableTest, TopKPairsIndexAndWeight) {
  v1::TopK top_k;
  *top_k.mutable_weights() =
      MakeTensor(std::vector<float>{0.75f, 0.25f}, {1, 1, 2});
  top_k.add_indices(4);
  top_k.add_indices(-1);
  EXPECT_THAT(TopKTable(top_k).value(), HasSubstr("4:0.7500  -1:0.2500"));
  top_k.add_indices(0);
  EXPECT_FALSE(TopKTable(top_k).ok());
}

TEST(SelectorTest, VersionAndLabelAreRead) {
  const auto latest = ParseSelector("a/b.c-d").value();
  EXPECT_EQ(latest.name(), "a/b.c-d");
  EXPECT_EQ(latest.which_case(), v1::WeightSetSelector::WHICH_NOT_SET);
  EXPECT_EQ(ParseSelector("a@12")->version(), 12);
  EXPECT_EQ(ParseSelector("a:stable")->label(), "stable");
  EXPECT_EQ(ExitCodeOf(ParseSelector("a@x").status()), kExitUsage);
}

TEST(CliStatusTest, CodeDecidesTheExit) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), kExitOk);
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("")), kExitRefused);
  EXPECT_EQ(ExitCodeOf(CheckError("")), kExitRefused);
  EXPECT_EQ(ExitCodeOf(UsageError("")), kExitUsage);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("")), kExitNoAnswer);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("")), kExitNoAnswer);
}

TEST(CliStatusTest, ErrorIsOneLineWithACure) {
  EXPECT_EQ(ErrorLine(UsageError("--query: no\nsuch\x1b[2J file"), "t:1"),
            "attention: --query: no such [2J file");
  EXPECT_THAT(ErrorLine(absl::UnavailableError("refused"), "t:1"),
              HasSubstr("t:1"));
  EXPECT_THAT(ErrorLine(absl::DeadlineExceededError("late"), "t:1"),
              HasSubstr("--deadline"));
}

TEST(CliStatusTest, OnlyAFailedConnectionIsAFaultOfTls) {
  const absl::Status hung_up =
      absl::UnavailableError("failed to connect; last error: Socket closed");
  EXPECT_THAT(ErrorLine(hung_up, "t:1", /*tls=*/false),
              AllOf(HasSubstr("--tls-ca"), Not(HasSubstr("--tls-cert"))));
  EXPECT_THAT(ErrorLine(hung_up, "t:1", /*tls=*/true),
              AllOf(HasSubstr("--tls-cert"), Not(HasSubstr("--tls-ca"))));
  // A connection that was there, a server that is not, and a server's words.
  for (const absl::Status& status :
       {absl::UnavailableError("Socket closed"),
        absl::UnavailableError("failed to connect: Connection refused"),
        absl::InternalError("failed to connect: wrong version number")}) {
    for (const bool tls : {false, true}) {
      EXPECT_THAT(ErrorLine(status, "t:1", tls), Not(HasSubstr("--tls")));
    }
  }
}

}  // namespace
}  // namespace attention::client
