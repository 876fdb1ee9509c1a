#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/test_files.h"

namespace zaya::checkpoint {
namespace {

using ::testing::HasSubstr;

Result<Safetensors> parse(const std::string& file) { return parse_safetensors(std::as_bytes(std::span(file)), "f"); }
Result<Safetensors> parse(const std::string& header, size_t data) { return parse(raw_safetensors(header, data)); }

void expect_refused(const Result<Safetensors>& result, Code code, const std::string& part) {
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), code) << result.status().to_string();
  EXPECT_THAT(result.status().message(), HasSubstr(part));
}

const char* two =
    R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]}})";

TEST(Safetensors, ReadsNamesShapesAndData) {
  std::string file = raw_safetensors(two, 0);
  const float values[2] = {1.5f, -3};
  file.append(reinterpret_cast<const char*>(values), 8);
  file.append("\x80\x3f\x00\x40\x00\xc0", 6);
  const auto parsed = parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
  ASSERT_EQ(parsed->tensors.size(), 2u);
  EXPECT_EQ(parsed->tensors[0].name, "a");
  EXPECT_EQ(to_f32(parsed->tensors[0]), (std::vector<float>{1.5f, -3}));
  EXPECT_EQ(parsed->tensors[1].shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(to_f32(parsed->tensors[1]), (std::vector<float>{1, 2, -2}));
}

TEST(Safetensors, ReadsMetadataPaddingEmptyTensorsAndOtherDtypes) {
  const auto parsed = parse(
      R"({"__metadata__":{"format":"pt"},"e":{"dtype":"F64","shape":[0,9999999999999],"data_offsets":[3,3]},)"
      R"("s":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3]},"z":{"dtype":"I16","shape":[],"data_offsets":[3,5]}}      )",
      5);
  ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
  EXPECT_EQ(parsed->metadata.at("format"), "pt");
  EXPECT_EQ(parsed->tensors.size(), 3u);
  EXPECT_EQ(parsed->tensors[0].dtype, DType::other);
  EXPECT_EQ(parsed->tensors[0].dtype_name, "F6_E2M3");
  EXPECT_TRUE(parse("{}", 0).ok());
}

TEST(Safetensors, TruncatedFile) {
  expect_refused(parse(std::string("")), Code::malformed, "0 bytes are too few");
  expect_refused(parse(std::string("\x10\0\0", 3)), Code::malformed, "3 bytes are too few");
  const std::string whole = raw_safetensors(two, 14);
  ASSERT_TRUE(parse(whole).ok());
  // Cut anywhere: never accepted.
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(parse(whole.substr(0, size)).ok()) << size;
  expect_refused(parse(whole.substr(0, whole.size() - 1)), Code::malformed,
                 "tensor b claims bytes 8 to 14 of a data buffer of 13 bytes");
}

TEST(Safetensors, HeaderLongerThanTheFile) {
  std::string file = raw_safetensors(two, 14);
  file[1] = '\x01';  // 256 bytes more
  expect_refused(parse(file), Code::malformed, "claims 367 bytes, the file has 125 after its length");
  for (size_t i = 0; i < 8; ++i) file[i] = '\xff';
  expect_refused(parse(file), Code::out_of_range, "claims 18446744073709551615 bytes");
}

TEST(Safetensors, HeaderAboveTheLimit) {
  std::string file = "{}";
  file.resize(max_header_bytes + 1, ' ');
  expect_refused(parse(raw_safetensors(file, 0)), Code::out_of_range, "100000001 bytes; the format allows 100000000");
  file.pop_back();
  EXPECT_TRUE(parse(raw_safetensors(file, 0)).ok());
}

TEST(Safetensors, OverlapsAndHoles) {
  expect_refused(
      parse(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
          7),
      Code::malformed, "tensors a and b overlap at byte 3");
  expect_refused(
      parse(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})",
          4),
      Code::malformed, "tensors a and b overlap at byte 0");
  expect_refused(
      parse(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})",
          8),
      Code::malformed, "bytes 4 to 6 of the data, before tensor b, belong to no tensor");
  expect_refused(parse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[1,5]}})", 5), Code::malformed, "bytes 0 to 1");
  expect_refused(parse(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 6), Code::malformed,
                 "bytes 4 to 6 of the data, at the end");
}

TEST(Safetensors, SizesThatDoNotFit) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return "{\"a\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}}";
  };
  expect_refused(parse(entry("F32", "[3]", "[0,8]"), 8), Code::malformed,
                 "(F32, 3) needs 12 bytes, its data_offsets span 8");
  expect_refused(parse(entry("F32", "[2]", "[8,0]"), 8), Code::malformed, "claims bytes 8 to 0");
  expect_refused(parse(entry("F32", "[-2]", "[0,8]"), 8), Code::malformed, "shape of a cannot be the number -2");
  expect_refused(parse(entry("F32", "[2.0]", "[0,8]"), 8), Code::malformed, "shape of a cannot be the number 2.0");
  expect_refused(parse(entry("F32", "[18446744073709551615]", "[0,8]"), 8), Code::malformed, "too large");
  expect_refused(parse(entry("F32", "[4294967296,4294967296]", "[0,8]"), 8), Code::malformed, "no representable size");
  expect_refused(parse(entry("F4", "[3]", "[0,2]"), 2), Code::malformed, "no representable size");
  expect_refused(parse(entry("Q4", "[3]", "[0,2]"), 2), Code::unsupported, "unknown dtype \"Q4\"");
  expect_refused(parse(entry("F32", "[1]", "[0,4,8]"), 8), Code::malformed, "more than 2 numbers");
  expect_refused(parse(entry("F32", "[1]", "[0]"), 4), Code::malformed, "must be two numbers");
  expect_refused(parse(entry("U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]"), 1), Code::malformed,
                 "more than 16 numbers");
}

TEST(Safetensors, HeadersThatAreNotTheGrammar) {
  for (const char* header :
       {"",
        "[]",
        "null",
        " {}",
        "{",
        "{}}",
        "{}x",
        R"({"a":1})",
        R"({"a":{}})",
        R"({"a":[]})",
        R"({"a":{"a":{"a":{}}}})",
        R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":1,"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":[[1]],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":[1],"shape":[1],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":1}})",
        R"({"__metadata__":{"a":1},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":{"a":"1","a":"2"},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":{},"__metadata__":{},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        "{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"}) {
    const auto parsed = parse(header, 1);
    ASSERT_FALSE(parsed.ok()) << header;
    EXPECT_EQ(parsed.status().code(), Code::malformed) << header;
  }
  expect_refused(
      parse(
          R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
          2),
      Code::malformed, "tensor a stands twice");
  // Nesting costs no stack.
  EXPECT_FALSE(parse("{\"a\":" + std::string(1 << 20, '['), 0).ok());
}

TEST(SafetensorsWriter, RoundTrip) {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.safetensors";
  std::vector<FileTensor> tensors = {float_tensor("β \"quoted\"", {2, 2}, {1, 2, 3, 4}), float_tensor("none", {0}, {}),
                                     zero_tensor("h", DType::bf16, {3}), zero_tensor("q", DType::f8_e4m3, {5})};
  write_tensors(path, tensors);
  const std::string file = *read_file(path);
  const auto parsed = parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.status().to_string();
  EXPECT_EQ(parsed->data_offset % 64, 0u);
  ASSERT_EQ(parsed->tensors.size(), 4u);
  for (const FileTensor& tensor : tensors) {
    const auto at = std::find_if(parsed->tensors.begin(), parsed->tensors.end(),
                                 [&](const Tensor& t) { return t.name == tensor.name; });
    ASSERT_NE(at, parsed->tensors.end());
    EXPECT_EQ(at->dtype, tensor.dtype);
    EXPECT_EQ(at->shape, tensor.shape);
    EXPECT_TRUE(std::equal(at->data.begin(), at->data.end(), tensor.data.begin(), tensor.data.end()));
  }
}

TEST(SafetensorsWriter, RefusesMisuse) {
  TemporaryDirectory directory;
  const auto path = directory.path() / "x.safetensors";
  EXPECT_FALSE(SafetensorsWriter::create(path, {{"a", DType::f32, {1}}, {"a", DType::f32, {1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::create(path, {{"a", DType::other, {1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::create(path, {{"a", DType::f32, {-1}}}).ok());
  EXPECT_FALSE(SafetensorsWriter::create(path, {{"a", DType::f32, {int64_t{1} << 40, int64_t{1} << 40}}}).ok());
  {
    auto writer = SafetensorsWriter::create(path, {{"a", DType::f32, {2}}});
    ASSERT_TRUE(writer.ok());
    const std::vector<std::byte> bytes(9);
    EXPECT_FALSE(writer->append(bytes).ok());
    EXPECT_TRUE(writer->append(std::span(bytes).first(4)).ok());
    EXPECT_FALSE(writer->finish().ok());
  }
  // An unfinished file leaves nothing behind.
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_FALSE(SafetensorsWriter::create(directory.path() / "no" / "x", {}).ok());
}

TEST(SafetensorsWriter, OneTensorInOneCall) {
  TemporaryDirectory directory;
  const auto path = directory.path() / "logits.safetensors";
  const std::vector<float> values = {1, -2, 3, 4, 5, 6};
  ASSERT_TRUE(write_safetensors_f32(path, "logits", {2, 3}, values).ok());
  const std::string file = *read_file(path);
  const auto parsed = parse(file);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->tensors[0].name, "logits");
  EXPECT_EQ(to_f32(parsed->tensors[0]), values);
  EXPECT_FALSE(write_safetensors_f32(path, "logits", {2, 2}, values).ok());
}

}  // namespace
}  // namespace zaya::checkpoint
