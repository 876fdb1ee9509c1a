#include "checkpoint/safetensors_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "base/checked.h"

namespace zaya::checkpoint {
namespace {

Status write_failure(const std::filesystem::path& path) {
  const int error = errno;
  return Status(error == ENOSPC ? Code::resource_exhausted : Code::io_error,
                fmt::format("cannot write {}: {}", path.string(), std::strerror(error)));
}

Result<int64_t> declared_bytes(const TensorDeclaration& tensor) {
  std::optional<int64_t> total = static_cast<int64_t>(dtype_size(tensor.dtype));
  for (int64_t size : tensor.shape) total = total ? checked_product({*total, size}) : total;
  if (!total || tensor.dtype == DType::other) {
    return Status(Code::invalid_argument, fmt::format("cannot write tensor {} ({}, {})", tensor.name,
                                                      dtype_name(tensor.dtype), shape_text(tensor.shape)));
  }
  return *total;
}

}  // namespace

Result<std::string> safetensors_header(const std::vector<TensorDeclaration>& tensors,
                                       const std::map<std::string, std::string>& metadata, int64_t* data_bytes) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names = {"__metadata__"};
  int64_t offset = 0;
  // ordered_json looks keys up one by one, so the entries are written out as text instead: names may be a million.
  std::string text = header.dump();
  text.pop_back();
  for (const TensorDeclaration& tensor : tensors) {
    if (!names.insert(tensor.name).second) {
      return Status(Code::invalid_argument, fmt::format("cannot write two tensors named {}", tensor.name));
    }
    ZAYA_ASSIGN(const int64_t bytes, declared_bytes(tensor));
    const auto end = checked_add(offset, bytes);
    if (!end) return Status(Code::invalid_argument, "the tensors are too large for one file");
    nlohmann::ordered_json entry;
    entry["dtype"] = dtype_name(tensor.dtype);
    entry["shape"] = tensor.shape;
    entry["data_offsets"] = {offset, *end};
    if (text.size() > 1) text += ',';
    using nlohmann::json;
    text += json(tensor.name).dump(-1, ' ', false, json::error_handler_t::replace) + ":" + entry.dump();
    offset = *end;
  }
  text += '}';
  text.append((64 - (text.size() + 8) % 64) % 64, ' ');
  std::string result(8, '\0');
  for (size_t i = 0; i < 8; ++i) result[i] = static_cast<char>(static_cast<uint64_t>(text.size()) >> (8 * i) & 0xff);
  if (data_bytes != nullptr) *data_bytes = offset;
  return result + text;
}

Result<SafetensorsWriter> SafetensorsWriter::create(const std::filesystem::path& path,
                                                    const std::vector<TensorDeclaration>& tensors,
                                                    const std::map<std::string, std::string>& metadata) {
  SafetensorsWriter writer;
  ZAYA_ASSIGN(const std::string header, safetensors_header(tensors, metadata, &writer.expected_));
  writer.path_ = path;
  writer.file_ = ::open(writer.temporary().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (writer.file_ < 0) return write_failure(path);
  ZAYA_RETURN_IF_ERROR(writer.write_all(std::as_bytes(std::span(header))));
  return writer;
}

std::filesystem::path SafetensorsWriter::temporary() const { return path_.string() + ".partial"; }

Status SafetensorsWriter::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return write_failure(path_);
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return Status();
}

Status SafetensorsWriter::append(std::span<const std::byte> bytes) {
  if (static_cast<int64_t>(bytes.size()) > expected_ - written_) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: {} bytes beyond the {} declared", path_.string(),
                              written_ + static_cast<int64_t>(bytes.size()) - expected_, expected_));
  }
  ZAYA_RETURN_IF_ERROR(write_all(bytes));
  written_ += static_cast<int64_t>(bytes.size());
  return Status();
}

Status SafetensorsWriter::finish() {
  if (written_ != expected_) {
    return Status(Code::invalid_argument,
                  fmt::format("{}: {} of {} declared bytes were written", path_.string(), written_, expected_));
  }
  // A full disk may only show when the last pages go out.
  if (::close(std::exchange(file_, -1)) != 0) {
    const Status failure = write_failure(path_);
    ::unlink(temporary().c_str());
    return failure;
  }
  if (::rename(temporary().c_str(), path_.c_str()) != 0) {
    const Status failure = write_failure(path_);
    ::unlink(temporary().c_str());
    return failure;
  }
  return Status();
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      file_(std::exchange(other.file_, -1)),
      expected_(other.expected_),
      written_(other.written_) {}

SafetensorsWriter& SafetensorsWriter::operator=(SafetensorsWriter&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(file_, other.file_);
  std::swap(expected_, other.expected_);
  std::swap(written_, other.written_);
  return *this;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(temporary().c_str());
}

Status write_safetensors_f32(const std::filesystem::path& path, const std::string& name,
                             const std::vector<int64_t>& shape, std::span<const float> values) {
  ZAYA_ASSIGN(SafetensorsWriter writer, SafetensorsWriter::create(path, {{name, DType::f32, shape}}));
  ZAYA_RETURN_IF_ERROR(writer.append(std::as_bytes(values)));
  return writer.finish();
}

}  // namespace zaya::checkpoint
