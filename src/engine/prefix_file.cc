#include "engine/prefix_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace zaya::engine {
namespace {

constexpr std::array<char, 8> kMagic = {'z', 'a', 'y', 'a', 'p', 'f', 'x', '\n'};
constexpr uint32_t kVersion = 1;  // of this file and of how a page is laid out
constexpr size_t kTokens = static_cast<size_t>(ops::kPageTokens);

// The file: Header, checksum; then one record per node, parents before children: NodeHead and the tokens, the page's
// bytes if no node before had it, the snapshot, checksum of the record.
struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t page_tokens = static_cast<uint32_t>(ops::kPageTokens);
  uint64_t fingerprint = 0;
  int64_t page_bytes = 0;
  int64_t history_floats = 0, delayed_floats = 0;
  int64_t nodes = 0, pages = 0;
};

struct NodeHead {
  int64_t parent = -1;  // index among the nodes; -1 = the root
  int64_t page = 0;     // index among the pages; a new page has the next one
  int64_t tokens = 0;   // of them as many count; the rest is zero
  std::array<text::TokenId, kTokens> token{};
};

// Four lanes of multiply and rotate: as fast as memory. Against damage, not against forgery.
class Checksum {
 public:
  void add(std::span<const std::byte> bytes) {
    size_t lane = 0;
    for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
      uint64_t word;
      std::memcpy(&word, bytes.data(), 8);
      mix(lane++ & 3, word);
    }
    uint64_t rest = bytes.size();
    for (std::byte b : bytes) rest = rest << 8 | static_cast<uint64_t>(b);
    mix(3, rest);
  }
  uint64_t value() const {
    uint64_t all = 0;
    for (uint64_t lane : lanes_) all = (all ^ lane) * 0x9fb21c651e98df25u, all ^= all >> 28;
    return all;
  }

 private:
  void mix(size_t lane, uint64_t word) {
    const uint64_t x = (lanes_[lane] ^ word) * 0x9e3779b97f4a7c15u;
    lanes_[lane] = x << 31 | x >> 33;
  }
  uint64_t lanes_[4] = {1, 2, 3, 4};
};

template <class T>
std::span<const std::byte> bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

// An open file that reads or writes everything or says why not, and sums up what went through.
class Stream {
 public:
  Stream(int fd, const std::filesystem::path& path) : fd_(fd), path_(path) {}
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  ~Stream() {
    if (fd_ >= 0) ::close(fd_);
  }

  int fd() const { return fd_; }
  int64_t left = 0;  // bytes of the file that were not read yet

  Status failure(const char* action) const {
    const int error = errno;
    return Status(error == ENOENT ? Code::not_found : Code::io_error,
                  fmt::format("cannot {} {}: {}", action, path_.string(), std::strerror(error)));
  }

  Status write(std::span<const std::byte> bytes) {
    checksum_.add(bytes);
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return failure("write");
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
    return Status();
  }

  Status read(std::span<std::byte> bytes) {
    const std::span<std::byte> all = bytes;
    left -= static_cast<int64_t>(bytes.size());
    while (!bytes.empty()) {
      const ssize_t count = ::read(fd_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return failure("read");
      if (count == 0) return damaged("it ends too early");
      bytes = bytes.subspan(static_cast<size_t>(count));
    }
    checksum_.add(all);
    return Status();
  }

  // Ends a record: the sum of what went through since the last one.
  Status write_checksum() {
    const uint64_t sum = std::exchange(checksum_, {}).value();
    const Status status = write(bytes_of(sum));
    checksum_ = {};
    return status;
  }
  Status check_checksum() {
    const uint64_t expected = checksum_.value();
    uint64_t stored = 0;
    ZAYA_RETURN_IF_ERROR(read(std::as_writable_bytes(std::span(&stored, 1))));
    checksum_ = {};
    return stored == expected ? Status() : damaged("a checksum does not fit");
  }

  Status damaged(const char* how) const {
    return Status(Code::malformed, fmt::format("{} is damaged: {}", path_.string(), how));
  }

 private:
  int fd_;
  std::filesystem::path path_;
  Checksum checksum_;
};

Header header_for(const model::StateShape& shape, uint64_t fingerprint) {
  Header header;
  header.fingerprint = fingerprint;
  header.page_bytes = shape.page_bytes();
  header.history_floats = shape.layers * shape.history_floats;
  header.delayed_floats = shape.layers * shape.delayed_floats;
  return header;
}

Status write_all(Stream& file, const PrefixTree& tree, Header header, int64_t planes) {
  const std::vector<const PrefixTree::Node*> order = tree.by_recency();
  std::unordered_map<const model::Page*, int64_t> pages;
  for (const PrefixTree::Node* node : order) pages.try_emplace(node->page.get(), static_cast<int64_t>(pages.size()));
  header.nodes = static_cast<int64_t>(order.size());
  header.pages = static_cast<int64_t>(pages.size());
  ZAYA_RETURN_IF_ERROR(file.write(bytes_of(header)));
  ZAYA_RETURN_IF_ERROR(file.write_checksum());

  std::unordered_map<const PrefixTree::Node*, int64_t> indices;
  int64_t pages_written = 0;
  for (const PrefixTree::Node* node : order) {
    NodeHead head;
    const auto parent = indices.find(node->parent);
    if (parent != indices.end()) head.parent = parent->second;
    head.page = pages.at(node->page.get());
    head.tokens = static_cast<int64_t>(node->tokens.size());
    std::copy(node->tokens.begin(), node->tokens.end(), head.token.begin());
    ZAYA_RETURN_IF_ERROR(file.write(bytes_of(head)));
    if (head.page == pages_written) {
      ++pages_written;
      for (int64_t i = 0; i < planes; ++i) ZAYA_RETURN_IF_ERROR(file.write(node->page->plane(i)));
    }
    ZAYA_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(node->snapshot.history))));
    ZAYA_RETURN_IF_ERROR(file.write(std::as_bytes(std::span(node->snapshot.delayed))));
    ZAYA_RETURN_IF_ERROR(file.write_checksum());
    indices.emplace(node, static_cast<int64_t>(indices.size()));
  }
  return ::fsync(file.fd()) == 0 ? Status() : file.failure("write");
}

// One record into the tree. The checksum has been seen to fit only when the record is complete, and even then nothing
// in it is trusted with an index.
Status read_node(Stream& file, PrefixTree& tree, model::PagePool& pool, const Header& header,
                 std::vector<PrefixTree::Node*>& nodes, std::vector<std::shared_ptr<model::Page>>& pages) {
  NodeHead head;
  ZAYA_RETURN_IF_ERROR(file.read(std::as_writable_bytes(std::span(&head, 1))));
  if (head.parent < -1 || head.parent >= static_cast<int64_t>(nodes.size()) || head.tokens < 1 ||
      head.tokens > ops::kPageTokens || head.page < 0 || head.page > static_cast<int64_t>(pages.size())) {
    return file.damaged("a node's numbers make no sense");
  }
  PrefixTree::Node* parent = head.parent < 0 ? tree.root() : nodes[static_cast<size_t>(head.parent)];
  if (parent->length % ops::kPageTokens != 0) return file.damaged("a node follows the end of another one");
  if (head.page == static_cast<int64_t>(pages.size())) {
    std::shared_ptr<model::Page> page = pool.allocate();
    if (page == nullptr) return Status(Code::resource_exhausted, "no memory for the prefix cache");
    for (int64_t i = 0; i < pool.planes(); ++i) ZAYA_RETURN_IF_ERROR(file.read(page->plane(i)));
    pages.push_back(std::move(page));
  }
  model::Snapshot snapshot;
  snapshot.history.resize(static_cast<size_t>(header.history_floats));
  snapshot.delayed.resize(static_cast<size_t>(header.delayed_floats));
  ZAYA_RETURN_IF_ERROR(file.read(std::as_writable_bytes(std::span(snapshot.history))));
  ZAYA_RETURN_IF_ERROR(file.read(std::as_writable_bytes(std::span(snapshot.delayed))));
  ZAYA_RETURN_IF_ERROR(file.check_checksum());

  const std::shared_ptr<model::Page>& page = pages[static_cast<size_t>(head.page)];
  page->claimed = std::max(page->claimed, head.tokens);
  const auto tokens = std::span(head.token).first(static_cast<size_t>(head.tokens));
  PrefixTree::Node* node = tree.insert(parent, tokens, page, std::move(snapshot));
  if (node == nullptr) return file.damaged("two nodes are alike");
  nodes.push_back(node);
  return Status();
}

Status read_all(Stream& file, PrefixTree& tree, model::PagePool& pool, const Header& expected,
                const std::function<bool(int64_t)>& room) {
  Header header;
  ZAYA_RETURN_IF_ERROR(file.read(std::as_writable_bytes(std::span(&header, 1))));
  if (header.magic != kMagic) return file.damaged("it is no prefix cache");
  if (header.version != kVersion) {
    return Status(Code::unsupported, fmt::format("version {}; this program reads {}", header.version, kVersion));
  }
  ZAYA_RETURN_IF_ERROR(file.check_checksum());
  if (header.fingerprint != expected.fingerprint || header.page_tokens != expected.page_tokens ||
      header.page_bytes != expected.page_bytes || header.history_floats != expected.history_floats ||
      header.delayed_floats != expected.delayed_floats) {
    return Status(Code::unsupported, "it is of another model, weight format or backend");
  }
  const int64_t snapshot = (header.history_floats + header.delayed_floats) * static_cast<int64_t>(sizeof(float));
  std::vector<PrefixTree::Node*> nodes;
  std::vector<std::shared_ptr<model::Page>> pages;
  for (int64_t i = 0; i < header.nodes; ++i) {
    if (!room(header.page_bytes + snapshot)) return Status();  // less memory than when it was saved
    ZAYA_RETURN_IF_ERROR(read_node(file, tree, pool, header, nodes, pages));
  }
  return file.left == 0 ? Status() : file.damaged("something follows its end");
}

}  // namespace

Status save_prefixes(const PrefixTree& tree, const model::StateShape& shape, uint64_t fingerprint,
                     const std::filesystem::path& path) {
  // One name for the unfinished file, so that those of killed processes do not pile up; the lock keeps others off it.
  const std::filesystem::path unfinished = path.string() + ".partial";
  Stream file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), unfinished);
  if (file.fd() < 0) return file.failure("write");
  if (::flock(file.fd(), LOCK_EX | LOCK_NB) != 0) {
    return Status(Code::resource_exhausted, fmt::format("another process is saving to {}", path.string()),
                  "give each process a cache file of its own");
  }
  // Somebody may have finished between our open and our lock: then what we hold is the cache file itself by now.
  struct stat ours {
  }, there{};
  if (::fstat(file.fd(), &ours) != 0) return file.failure("write");
  if (::stat(unfinished.c_str(), &there) != 0 || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
    return Status(Code::resource_exhausted, fmt::format("another process has just saved to {}", path.string()),
                  "give each process a cache file of its own");
  }
  if (::ftruncate(file.fd(), 0) != 0) return file.failure("write");
  if (const Status status = write_all(file, tree, header_for(shape, fingerprint), shape.page_planes()); !status.ok()) {
    ::unlink(unfinished.c_str());
    return status;
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return file.failure("rename");
  // The rename itself is on the disk when the directory is.
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const Stream directory(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent);
  if (directory.fd() >= 0) ::fsync(directory.fd());
  return Status();
}

Status load_prefixes(PrefixTree& tree, model::PagePool& pool, const model::StateShape& shape, uint64_t fingerprint,
                     const std::filesystem::path& path, const std::function<bool(int64_t)>& room) {
  Stream file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK), path);  // a pipe by that name must not block
  if (file.fd() < 0) return file.failure("read");
  struct stat info {};
  if (::fstat(file.fd(), &info) != 0) return file.failure("read");
  if (!S_ISREG(info.st_mode)) return Status(Code::io_error, fmt::format("{} is not a regular file", path.string()));
  file.left = info.st_size;
  const Status status = read_all(file, tree, pool, header_for(shape, fingerprint), room);
  if (!status.ok()) tree.clear();
  return status;
}

}  // namespace zaya::engine
