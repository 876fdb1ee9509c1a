#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace zaya {
namespace {

// Closes a descriptor on every way out.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Status io_failure(const char* action, const std::filesystem::path& path) {
  const int error = errno;
  return Status(error == ENOENT ? Code::not_found : Code::io_error,
                fmt::format("cannot {} {}: {}", action, path.string(), std::strerror(error)));
}

Result<size_t> regular_size(int fd, const std::filesystem::path& path) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return io_failure("read", path);
  if (!S_ISREG(info.st_mode)) return Status(Code::io_error, fmt::format("{} is not a regular file", path.string()));
  return static_cast<size_t>(info.st_size);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::filesystem::path& path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe by that name must not block
  if (file.fd < 0) return io_failure("open", path);
  ZAYA_ASSIGN(const size_t size, regular_size(file.fd, path));
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (data == MAP_FAILED) return io_failure("map", path);
#if defined(MADV_HUGEPAGE)
  // What is not in the system's cache yet comes as huge pages, where the file system can: in two thirds of the time,
  // and read faster ever after. A wish.
  ::madvise(data, size, MADV_HUGEPAGE);
#endif
  return MappedFile(static_cast<const std::byte*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(part.data()) + page - 1) / page * page;
  const uintptr_t last = reinterpret_cast<uintptr_t>(part.data() + part.size()) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

Result<std::string> read_file(const std::filesystem::path& path, size_t limit) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // a pipe by that name must not block
  if (file.fd < 0) return io_failure("open", path);
  ZAYA_ASSIGN(const size_t size, regular_size(file.fd, path));
  if (size > limit) {
    return Status(Code::out_of_range, fmt::format("{} has {} bytes; at most {} are read", path.string(), size, limit));
  }
  std::string content(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t count = ::read(file.fd, content.data() + done, size - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return io_failure("read", path);
    if (count == 0) break;  // the file shrank meanwhile: return what there is
    done += static_cast<size_t>(count);
  }
  content.resize(done);
  return content;
}

Status write_file(const std::filesystem::path& path, std::string_view content) {
  // A name of its own, so that two writers do not share one half-written file.
  std::string temporary = path.string() + ".XXXXXX";
  Descriptor file{::mkostemp(temporary.data(), O_CLOEXEC)};
  if (file.fd < 0) return io_failure("write", path);
  const auto fail = [&]() -> Status {
    const Status status = io_failure("write", path);
    ::unlink(temporary.c_str());
    return status;
  };
  while (!content.empty()) {
    const ssize_t count = ::write(file.fd, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail();
    content.remove_prefix(static_cast<size_t>(count));
  }
  if (::fchmod(file.fd, 0644) != 0) return fail();  // mkostemp's files are their owner's alone
  // Some file systems report a failed write only here.
  if (::close(std::exchange(file.fd, -1)) != 0) return fail();
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail();
  return Status();
}

}  // namespace zaya
