// Files of arrays: every format and type there and back, and what is refused.
#include "client/cpp/files/array_file.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "client/cpp/files/csv.h"
#include "client/cpp/files/json_array.h"
#include "client/cpp/files/npy.h"
#include "client/cpp/files/npz.h"
#include "client/cpp/files/safetensors.h"
#include "gmock/gmock.h"

namespace attention::files {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr ElementType kTypes[] = {ElementType::kFloat32, ElementType::kFloat64,
                                  ElementType::kFloat16, ElementType::kBfloat16,
                                  ElementType::kBool,    ElementType::kInt64};
constexpr FileFormat kFormats[] = {FileFormat::kNpy, FileFormat::kNpz,
                                   FileFormat::kSafetensors, FileFormat::kJson,
                                   FileFormat::kCsv};

bool IsText(FileFormat format) {
  return format == FileFormat::kJson || format == FileFormat::kCsv;
}

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

std::string Written(const Array& array, FileFormat format) {
  std::ostringstream out;
  const NamedArray named[] = {{"x", array}};
  const absl::Status status = WriteArrays(named, {}, format, out);
  EXPECT_TRUE(status.ok()) << status;
  return out.str();
}

absl::StatusOr<Array> Read(const std::string& bytes, FileFormat format,
                           ElementType text_type = ElementType::kFloat32,
                           const ReadLimits& limits = {}) {
  return ReadArray(MemorySource("f", bytes), format, std::nullopt, text_type,
                   limits);
}

// Any bits at all, NaN payloads and subnormals among them.
Array RandomBits(ElementType type, const std::vector<int64_t>& shape) {
  std::mt19937 random(7);
  Array array = {type, shape, {}};
  array.data.resize(static_cast<size_t>(*ByteCount(ElementSize(type), shape)));
  for (char& byte : array.data) {
    byte = static_cast<char>(type == ElementType::kBool ? random() & 1
                                                        : random() & 0xff);
  }
  return array;
}

// The same with zeros for NaN, which text does not keep.
Array WithoutNan(Array array) {
  const auto size = static_cast<size_t>(ElementSize(array.type));
  for (int64_t i = 0; i < ArrayView(array).size(); ++i) {
    if (std::isnan(ElementAt(array, i))) {
      array.data.replace(static_cast<size_t>(i) * size, size, size, '\0');
    }
  }
  return array;
}

TEST(ArrayFileTest, EveryTypeSurvivesEveryFormatBitForBit) {
  for (const FileFormat format : kFormats) {
    for (const ElementType type : kTypes) {
      if (IsText(format) && type == ElementType::kInt64) continue;
      Array array = RandomBits(type, {301, 7});
      if (IsText(format)) array = WithoutNan(array);
      const auto again = Read(Written(array, format), format, type);
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(again->type, type);
      EXPECT_EQ(again->shape, array.shape);
      EXPECT_TRUE(again->data == array.data)
          << FileFormatWord(format) << " " << ElementTypeName(type);
    }
  }
}

TEST(ArrayFileTest, EveryRankAndEmptyAxesSurvive) {
  const std::vector<std::vector<int64_t>> shapes = {
      {}, {5}, {0}, {0, 3}, {2, 0}, {2, 3, 4}, {2, 1, 3, 2}};
  for (const FileFormat format :
       {FileFormat::kNpy, FileFormat::kNpz, FileFormat::kSafetensors}) {
    for (const std::vector<int64_t>& shape : shapes) {
      const Array array = RandomBits(ElementType::kFloat64, shape);
      const auto again = Read(Written(array, format), format);
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(again->shape, shape);
      EXPECT_TRUE(again->data == array.data);
    }
  }
  const Array deep =
      WithoutNan(RandomBits(ElementType::kFloat32, {2, 3, 1, 2}));
  EXPECT_EQ(Read(Written(deep, FileFormat::kJson), FileFormat::kJson)->data,
            deep.data);
}

TEST(ArrayFileTest, InfinitiesAndNanSurviveText) {
  Array array = {ElementType::kFloat16, {1, 4}, {}};
  for (const double element :
       std::vector<double>{HUGE_VAL, -HUGE_VAL, NAN, -0.0}) {
    EXPECT_EQ(AppendElement(element, array.type, array.data), "");
  }
  for (const FileFormat format : {FileFormat::kJson, FileFormat::kCsv}) {
    const auto again = Read(Written(array, format), format, array.type);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again->data == array.data) << FileFormatWord(format);
  }
}

TEST(ArrayFileTest, SameArraysGiveSameBytes) {
  const Array array = RandomBits(ElementType::kFloat32, {3, 4});
  for (const FileFormat format : kFormats) {
    EXPECT_EQ(Written(array, format), Written(array, format));
  }
}

TEST(ArrayFileTest, TextRoundsOnceToNearestEven) {
  // Half way between two neighbours, and a little above.
  const auto read = Read("1.00048828125, 1.000488281251\n", FileFormat::kCsv,
                         ElementType::kFloat16);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ElementAt(*read, 0), 1.0);
  EXPECT_EQ(ElementAt(*read, 1), 1.0009765625);
}

TEST(ArrayFileTest, NumberBeyondTheTypeIsRefusedByPlace) {
  EXPECT_THAT(
      Message(
          Read("1,70000\n", FileFormat::kCsv, ElementType::kFloat16).status()),
      HasSubstr("f:1: column 2 is 70000, which is beyond float16"));
  EXPECT_THAT(Message(Read("[[1], [3.5e38]]", FileFormat::kJson).status()),
              HasSubstr("f: at [1][0]: is 3.5e+38, which is beyond float32"));
  EXPECT_THAT(
      Message(
          Read("1e999\n", FileFormat::kCsv, ElementType::kFloat64).status()),
      HasSubstr("f:1: column 1 is \"1e999\"; expected a number"));
}

TEST(ArrayFileTest, NameChoosesAmongSeveral) {
  const Array x = RandomBits(ElementType::kFloat32, {2, 2});
  const Array y = RandomBits(ElementType::kFloat64, {3});
  const NamedArray both[] = {{"x", x}, {"y", y}};
  for (const FileFormat format : {FileFormat::kNpz, FileFormat::kSafetensors}) {
    std::ostringstream out;
    ASSERT_TRUE(WriteArrays(both, {}, format, out).ok());
    const MemorySource source("f", out.str());
    const auto read = [&](const std::optional<std::string>& name) {
      return ReadArray(source, format, name, ElementType::kFloat32, {});
    };
    EXPECT_EQ(read("y")->data, y.data);
    EXPECT_EQ(read("x")->data, x.data);
    EXPECT_THAT(Message(read(std::nullopt).status()),
                AllOf(HasSubstr("holds 2 arrays, \"x\", \"y\""),
                      HasSubstr("FILE:NAME")));
    EXPECT_THAT(Message(read("z").status()),
                HasSubstr("holds no array \"z\"; it has \"x\", \"y\""));
  }
  EXPECT_THAT(Message(ReadArray(MemorySource("f", "1\n"), FileFormat::kCsv, "x",
                                ElementType::kFloat32, {})
                          .status()),
              HasSubstr("is csv, one array without a name; leave out \":x\""));
}

TEST(ArrayFileTest, OneArrayFormatsRefuseMore) {
  const Array x = RandomBits(ElementType::kFloat32, {2, 2});
  const NamedArray both[] = {{"x", x}, {"y", x}};
  std::ostringstream out;
  EXPECT_THAT(Message(WriteArrays(both, {}, FileFormat::kNpy, out)),
              HasSubstr("npy: holds one array, but there are 2: x, y"));
  const Array cube = RandomBits(ElementType::kFloat32, {1, 1, 1});
  const NamedArray deep[] = {{"x", cube}};
  EXPECT_THAT(Message(WriteArrays(deep, {}, FileFormat::kCsv, out)),
              HasSubstr("has shape [1, 1, 1], but csv holds rank 2; use json"));
}

TEST(ArrayFileTest, NoNameIsWrittenTwice) {
  const Array x = RandomBits(ElementType::kFloat32, {2});
  const NamedArray twice[] = {{"x", x}, {"x", x}};
  for (const FileFormat format : {FileFormat::kNpz, FileFormat::kSafetensors}) {
    std::ostringstream out;
    EXPECT_THAT(Message(WriteArrays(twice, {}, format, out)),
                HasSubstr("would have \"x\" twice"));
    EXPECT_EQ(out.str(), "");
  }
}

TEST(ArrayFileTest, NothingIsReadBeyondTheLimit) {
  const Array array = WithoutNan(RandomBits(ElementType::kFloat32, {30, 30}));
  for (const FileFormat format : kFormats) {
    const std::string bytes = Written(array, format);
    const auto limited = [&](int64_t limit) {
      return Read(bytes, format, array.type, ReadLimits{limit}).status();
    };
    EXPECT_TRUE(limited(3600).ok()) << limited(3600);
    EXPECT_THAT(Message(limited(3599)), HasSubstr("--max-tensor-bytes"))
        << FileFormatWord(format);
  }
}

TEST(ArrayFileTest, EveryCutIsRefused) {
  const Array array = RandomBits(ElementType::kFloat32, {2, 3});
  for (const FileFormat format :
       {FileFormat::kNpy, FileFormat::kNpz, FileFormat::kSafetensors}) {
    const std::string bytes = Written(array, format);
    for (size_t length = 0; length < bytes.size(); ++length) {
      const auto read = Read(bytes.substr(0, length), format);
      ASSERT_FALSE(read.ok()) << FileFormatWord(format) << " " << length;
      EXPECT_THAT(Message(read.status()), StartsWith("f"));
    }
  }
}

std::string Npy(const std::string& dict, const std::string& data = "") {
  std::string length(2, '\0');
  length[0] = static_cast<char>(dict.size());
  return std::string("\x93NUMPY\x01\x00", 8) + length + dict + data;
}

TEST(NpyTest, EitherByteOrderAndEitherOrderOfAxesIsRead) {
  const std::string big_endian("\x3f\x80\0\0\x40\0\0\0", 8);
  const auto swapped =
      Read(Npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1, 2), }",
               big_endian),
           FileFormat::kNpy);
  ASSERT_TRUE(swapped.ok()) << swapped.status();
  EXPECT_EQ(ElementAt(*swapped, 0), 1);
  EXPECT_EQ(ElementAt(*swapped, 1), 2);

  const auto turned =
      Read(Npy("{'shape': (2, 3, 1), 'descr': \"|b1\", 'fortran_order': True}",
               std::string("\1\0\0\0\1\1", 6)),
           FileFormat::kNpy);
  ASSERT_TRUE(turned.ok()) << turned.status();
  EXPECT_THAT(turned->shape, ElementsAre(2, 3, 1));
  EXPECT_EQ(turned->data, std::string("\1\0\1\0\0\1", 6));
}

TEST(NpyTest, WhatIsNoArrayOfNumbersIsRefusedWithACure) {
  const auto refused = [](const std::string& dict, const std::string& data) {
    return Message(Read(Npy(dict, data), FileFormat::kNpy).status());
  };
  const std::string rest = ", 'fortran_order': False, 'shape': (1,), }";
  EXPECT_THAT(refused("{'descr': '|O'" + rest, "1"),
              HasSubstr("objects are never read"));
  EXPECT_THAT(refused("{'descr': '<i4'" + rest, "1234"),
              HasSubstr("array.astype(numpy.float32)"));
  EXPECT_THAT(refused("{'descr': '|u1'" + rest, "1"),
              HasSubstr("array.astype(bool)"));
  EXPECT_THAT(refused("{'descr': [('a', '<f4')]" + rest, "1234"),
              HasSubstr("records"));
  EXPECT_THAT(refused("{'descr': '=f4'" + rest, "1234"),
              HasSubstr("byte order"));
  EXPECT_THAT(refused("{'descr': '|b1'" + rest, "\2"),
              HasSubstr("is the byte 2; a bool is 0 or 1"));
  EXPECT_THAT(refused("{'descr': '<f4'" + rest, "12345"),
              HasSubstr("has 5 bytes of elements, but float32 of shape [1] "
                        "takes 4"));
  EXPECT_THAT(refused("{'descr': '<f4', 'fortran_order': False, 'shape': "
                      "(4294967296, 4294967296)}",
                      ""),
              HasSubstr("beyond any memory"));
  EXPECT_THAT(Message(Read("PK and so on", FileFormat::kNpy).status()),
              HasSubstr("starts with \\x93NUMPY"));
}

TEST(NpyTest, HeaderIsStrict) {
  constexpr char kTwice[] =
      "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, "
      "'shape': (1,)}";
  constexpr char kTooLong[] =
      "{'descr': '<f4', 'fortran_order': False, "
      "'shape': (99999999999999999999,)}";
  for (const char* dict :
       {"", "{}", "{'descr': '<f4'}", "['descr']",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} 1",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1+0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': [1]}", kTwice,
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", kTooLong}) {
    const auto read = Read(Npy(dict, "1234"), FileFormat::kNpy);
    EXPECT_THAT(Message(read.status()), HasSubstr("its header")) << dict;
  }
}

std::string Safetensors(const std::string& header, const std::string& data) {
  std::string length(8, '\0');
  const uint64_t size = header.size();
  std::memcpy(length.data(), &size, sizeof(size));
  return length + header + data;
}

TEST(SafetensorsTest, FaultOfTheHeaderIsNamed) {
  const auto entry = [](const std::string& dtype, const std::string& shape,
                        const std::string& place) {
    return R"({"dtype":")" + dtype + R"(","shape":)" + shape +
           ",\"data_offsets\":" + place + "}";
  };
  const struct {
    std::string header;
    const char* fault;
  } cases[] = {
      {"{\"x\":" + entry("F32", "[2]", "[0,12]") + "}",
       "tensor \"x\" has data_offsets [0, 12] but there are 8 bytes"},
      {"{\"x\":" + entry("F32", "[1]", "[8,4]") + "}", "data_offsets [8, 4]"},
      {"{\"x\":" + entry("F32", "[3]", "[0,8]") + "}",
       "tensor \"x\" has 8 bytes but F32 of shape [3] takes 12"},
      {"{\"x\":" + entry("F32", "[4611686018427387904,4]", "[0,8]") + "}",
       "takes more than 2^63"},
      {"{\"x\":" + entry("F32", "[2]", "[0,8]") +
           ",\"y\":" + entry("F32", "[1]", "[4,8]") + "}",
       "tensor \"y\" begins at byte 4, inside of another, which ends at 8"},
      {"{\"x\":" + entry("F32", "[1]", "[4,8]") + "}", "leaves a gap behind 0"},
      {"{\"x\":" + entry("F32", "[1]", "[0,4]") + "}",
       "has 8 bytes of elements but its tensors end at 4"},
      {"{\"x\":" + entry("F32", "[2]", "[0,8]") +
           ",\"x\":" + entry("F32", "[2]", "[0,8]") + "}",
       "has \"x\" twice"},
      {"{\"x\":" + entry("F32", "[-2]", "[0,8]") + "}", "no list of integers"},
      {"{\"x\":" + entry("F32", "[2.0]", "[0,8]") + "}", "no list of integers"},
      {"{\"x\":1}", "needs dtype, shape and data_offsets"},
      {R"({"__metadata__":{"a":1},"x":)" + entry("F32", "[2]", "[0,8]") + "}",
       "__metadata__ has \"a\", which is not a string"},
      {"{\"x\":", "its header is not JSON"},
      {"[]", "is not a JSON object"},
  };
  for (const auto& [header, fault] : cases) {
    const auto read =
        Read(Safetensors(header, "12345678"), FileFormat::kSafetensors);
    EXPECT_THAT(Message(read.status()), HasSubstr(fault)) << header;
  }
}

TEST(SafetensorsTest, UnknownDtypeStopsOnlyWhoReadsIt) {
  const std::string bytes =
      Safetensors(R"({"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},)"
                  R"("b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                  std::string("\0\0\0\0\0\0\x80\x3f", 8));
  const MemorySource source("f", bytes);
  const auto bundle = OpenSafetensors(source);
  ASSERT_TRUE(bundle.ok()) << bundle.status();
  EXPECT_EQ(ElementAt((*bundle)->Read("b", {}).value(), 0), 1);
  EXPECT_THAT(Message((*bundle)->Read("a", {}).status()),
              HasSubstr("tensor \"a\" has dtype \"I32\"; expected F32"));
}

TEST(SafetensorsTest, MetadataSurvivesAndElementsAreAligned) {
  const Array mask = RandomBits(ElementType::kBool, {3});
  const Array number = RandomBits(ElementType::kFloat64, {2});
  const NamedArray arrays[] = {{"mask", mask}, {"number", number}};
  std::ostringstream out;
  WriteSafetensors(arrays, {{"format", "pt"}}, out);
  const std::string bytes = out.str();
  EXPECT_EQ(bytes.find(number.data) % 8, 0u);
  const MemorySource source("f", bytes);
  EXPECT_EQ(OpenSafetensors(source).value()->metadata().at("format"), "pt");
}

TEST(NpzTest, WrongChecksumIsRefused) {
  const Array array = RandomBits(ElementType::kFloat32, {64});
  std::string bytes = Written(array, FileFormat::kNpz);
  const size_t data = bytes.find(array.data);
  ASSERT_NE(data, std::string::npos);
  bytes[data + 17] = static_cast<char>(bytes[data + 17] ^ 1);
  EXPECT_THAT(Message(Read(bytes, FileFormat::kNpz).status()),
              HasSubstr("f:x: cannot be unpacked: CRC error"));
}

TEST(FormatTest, ContentDecidesWhereTheEndingDoesNot) {
  const Array array = WithoutNan(RandomBits(ElementType::kFloat32, {2, 2}));
  for (const FileFormat format : kFormats) {
    const MemorySource source("-", Written(array, format));
    EXPECT_EQ(FormatOfFile("-", source), format);
    EXPECT_EQ(FormatOfFile("x.json", source), format);
    EXPECT_EQ(FormatOfFile("x.NPY", source), FileFormat::kNpy);
  }
}

TEST(FormatTest, NameStartsBehindTheColonAfterAFile) {
  const std::string path =
      ::testing::TempDir() + "/array_file_test:" + std::to_string(getpid());
  std::ofstream(path) << "1\n";
  EXPECT_EQ(PlaceOf(path).path, path);
  EXPECT_EQ(PlaceOf(path).name, std::nullopt);
  EXPECT_EQ(PlaceOf(path + ":a:b").path, path);
  EXPECT_EQ(PlaceOf(path + ":a:b").name, "a:b");
  EXPECT_EQ(PlaceOf("-:a").path, "-");
  EXPECT_EQ(PlaceOf("-:a").name, "a");
  EXPECT_EQ(PlaceOf("/no/such:file").path, "/no/such:file");
  std::remove(path.c_str());
}

TEST(ByteSourceTest, MissingFileAndDirectoryAreNamed) {
  EXPECT_THAT(Message(OpenSource("/no/such/file").status()),
              HasSubstr("/no/such/file: cannot be opened: No such file"));
  EXPECT_THAT(Message(OpenSource(::testing::TempDir()).status()),
              HasSubstr("is a directory"));
}

TEST(ByteSourceTest, PipeIsReadUpToTheLimit) {
  const std::string path = "/dev/zero";
  EXPECT_THAT(Message(OpenSource(path, ReadLimits{100000}).status()),
              HasSubstr("--max-tensor-bytes, which is 100000"));
}

}  // namespace
}  // namespace attention::files
