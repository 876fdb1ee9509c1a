#include "base/file.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <string_view>
#include <utility>

namespace zaya {
namespace {

namespace fs = std::filesystem;

// A directory of its own for each test.
class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "zaya-file-test-XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }

  fs::path put(const char* name, std::string_view content) {
    fs::path path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  fs::path directory_;
};

std::string_view text_of(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// With a NUL and bytes that are no text.
constexpr std::string_view binary_content{"a\0b\r\n\xff\xfe", 7};

TEST_F(FileTest, MapsAFile) {
  const Result<MappedFile> file = MappedFile::open(put("weights", binary_content));
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_EQ(text_of(*file), binary_content);
}

TEST_F(FileTest, MapsAnEmptyFile) {
  const Result<MappedFile> file = MappedFile::open(put("empty", ""));
  ASSERT_TRUE(file.ok()) << file.status().to_string();
  EXPECT_TRUE(file->bytes().empty());
}

TEST_F(FileTest, AMappingMovesWithItsBytes) {
  Result<MappedFile> first = MappedFile::open(put("first", "one"));
  Result<MappedFile> second = MappedFile::open(put("second", "two"));
  ASSERT_TRUE(first.ok() && second.ok());
  MappedFile moved = *std::move(first);
  EXPECT_EQ(text_of(moved), "one");
  moved = *std::move(second);
  EXPECT_EQ(text_of(moved), "two");
}

TEST_F(FileTest, AMappingOutlivesTheName) {
  const fs::path path = put("weights", "still here");
  const Result<MappedFile> file = MappedFile::open(path);
  ASSERT_TRUE(file.ok());
  fs::remove(path);
  EXPECT_EQ(text_of(*file), "still here");
}

TEST_F(FileTest, AMissingFileIsNotFoundAndNamed) {
  const fs::path path = directory_ / "absent.json";
  for (const Status& status : {MappedFile::open(path).status(), read_file(path).status()}) {
    EXPECT_EQ(status.code(), Code::not_found);
    EXPECT_NE(status.message().find(path.string()), std::string::npos) << status.message();
  }
}

TEST_F(FileTest, ADirectoryIsNoFile) {
  for (const Status& status : {MappedFile::open(directory_).status(), read_file(directory_).status()}) {
    EXPECT_EQ(status.code(), Code::io_error);
    EXPECT_NE(status.message().find(directory_.string()), std::string::npos) << status.message();
  }
}

TEST_F(FileTest, ReadsWhatIsThere) {
  const Result<std::string> content = read_file(put("file", binary_content));
  ASSERT_TRUE(content.ok()) << content.status().to_string();
  EXPECT_EQ(*content, binary_content);
}

TEST_F(FileTest, ReadsAnEmptyFile) {
  const Result<std::string> content = read_file(put("empty", ""), 0);
  ASSERT_TRUE(content.ok()) << content.status().to_string();
  EXPECT_EQ(*content, "");
}

TEST_F(FileTest, TheLimitIsTheLargestSizeThatIsRead) {
  const fs::path path = put("file", "12345");
  EXPECT_TRUE(read_file(path, 5).ok());
  const Status status = read_file(path, 4).status();
  EXPECT_EQ(status.code(), Code::out_of_range);
  EXPECT_NE(status.message().find("5 bytes; at most 4"), std::string::npos) << status.message();
}

TEST_F(FileTest, WritesAndReplacesWithoutLeavingAnythingElse) {
  const fs::path path = directory_ / "file";
  ASSERT_TRUE(write_file(path, "a longer first content").ok());
  ASSERT_TRUE(write_file(path, binary_content).ok());
  EXPECT_EQ(*read_file(path), binary_content);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), fs::directory_iterator()), 1);
}

TEST_F(FileTest, AReaderOfTheOldFileKeepsTheOldContent) {
  const fs::path path = put("file", "old");
  const Result<MappedFile> reader = MappedFile::open(path);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE(write_file(path, "new").ok());
  EXPECT_EQ(text_of(*reader), "old");
  EXPECT_EQ(*read_file(path), "new");
}

TEST_F(FileTest, AFailedWriteLeavesTheOldFile) {
  // The target is a directory that is not empty: the new content can be written beside it, but not take its place.
  const fs::path path = directory_ / "taken";
  fs::create_directory(path);
  put("taken/inside", "kept");
  const Status status = write_file(path, "new");
  EXPECT_EQ(status.code(), Code::io_error);
  EXPECT_NE(status.message().find(path.string()), std::string::npos) << status.message();
  EXPECT_EQ(*read_file(path / "inside"), "kept");
}

TEST_F(FileTest, WritingIntoAMissingDirectoryFails) {
  EXPECT_EQ(write_file(directory_ / "absent" / "file", "x").code(), Code::not_found);
}

}  // namespace
}  // namespace zaya
