// Files: read-only mappings for weights, whole reads for small files.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace zaya {

// A read-only private mapping of a whole file; unmapped when the object dies. Movable, not copyable.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::filesystem::path& path);

  MappedFile() = default;  // no bytes
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Gives back the memory of a part of any mapped file that was read and will not be soon: reading it again works, from
  // the file. Without this a scan of 17 GB would look, and weigh on the system, like 17 GB of memory in use.
  static void release(std::span<const std::byte> part);

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}
  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads a whole file of at most `limit` bytes; out_of_range when it is larger.
Result<std::string> read_file(const std::filesystem::path& path, size_t limit = size_t{256} << 20);

// Replaces `path` with `content`: written beside it, then renamed, so that a reader sees the old or the new file whole.
Status write_file(const std::filesystem::path& path, std::string_view content);

}  // namespace zaya
