#include "checkpoint/safetensors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/checked.h"

namespace zaya::checkpoint {
namespace {

// Dimensions of one tensor; the format names no limit, every real file stays below this one.
constexpr size_t max_dimensions = 16;

// A tensor's entry while its object is being read.
struct Entry {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<int64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
};

// Reads the header event by event: the grammar is fixed and two levels deep, so no tree is built and nothing can nest.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return refuse_value("null"); }
  bool boolean(bool) override { return refuse_value("a boolean"); }
  bool number_float(number_float_t, const string_t& text) override { return refuse_value("the number " + text); }
  bool binary(binary_t&) override { return refuse_value("binary"); }
  bool number_integer(number_integer_t value) override { return refuse_value(fmt::format("the number {}", value)); }

  bool number_unsigned(number_unsigned_t value) override {
    if (state_ != State::shape && state_ != State::offsets) return refuse_value(fmt::format("the number {}", value));
    if (value > static_cast<uint64_t>(INT64_MAX)) return refuse(fmt::format("{} of {} is too large", value, where()));
    auto& list = state_ == State::shape ? entry_.shape : entry_.offsets;
    const size_t limit = state_ == State::shape ? max_dimensions : 2;
    if (list.size() == limit) {
      return refuse(fmt::format("{} has more than {} numbers", where(), limit));
    }
    list.push_back(static_cast<int64_t>(value));
    return true;
  }

  bool string(string_t& value) override {
    if (state_ == State::metadata) {
      if (!metadata_.emplace(std::move(key_), std::move(value)).second) return refuse("__metadata__ repeats a key");
      return true;
    }
    if (state_ != State::dtype) return refuse_value(fmt::format("\"{}\"", value.substr(0, 80)));
    entry_.dtype = std::move(value);
    state_ = State::tensor;
    return true;
  }

  bool start_object(size_t) override {
    if (state_ == State::start) return enter(State::top);
    if (state_ == State::entry) {
      if (entry_.name == "__metadata__") {
        if (std::exchange(has_metadata_, true)) return refuse("__metadata__ stands twice");
        return enter(State::metadata);
      }
      return enter(State::tensor);
    }
    return refuse_value("an object");
  }

  bool key(string_t& name) override {
    switch (state_) {
      case State::top:
        entry_ = Entry();
        entry_.name = std::move(name);
        return enter(State::entry);
      case State::metadata: key_ = std::move(name); return true;
      case State::tensor:
        if (name == "dtype") return field(entry_.has_dtype, State::dtype, name);
        if (name == "shape") return field(entry_.has_shape, State::want_shape, name);
        if (name == "data_offsets") return field(entry_.has_offsets, State::want_offsets, name);
        return refuse(fmt::format("tensor {} has an unknown key \"{}\"", entry_.name, name.substr(0, 80)));
      default: return refuse("a key where a value belongs");
    }
  }

  bool end_object() override {
    if (state_ == State::tensor) {
      if (!entry_.has_dtype || !entry_.has_shape || !entry_.has_offsets) {
        return refuse(fmt::format("tensor {} lacks one of dtype, shape and data_offsets", entry_.name));
      }
      if (entry_.offsets.size() != 2) return refuse(fmt::format("data_offsets of {} must be two numbers", entry_.name));
      entries_.push_back(std::move(entry_));
      return enter(State::top);
    }
    if (state_ == State::metadata) return enter(State::top);
    return enter(State::end);
  }

  bool start_array(size_t) override {
    if (state_ == State::want_shape) return enter(State::shape);
    if (state_ == State::want_offsets) return enter(State::offsets);
    return refuse_value("an array");
  }
  bool end_array() override { return enter(State::tensor); }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return refuse(fmt::format("JSON error at byte {} of the header", position));
  }

  std::vector<Entry>& entries() { return entries_; }
  std::map<std::string, std::string>& metadata() { return metadata_; }
  const std::string& problem() const { return problem_; }

 private:
  enum class State { start, top, entry, metadata, tensor, dtype, want_shape, shape, want_offsets, offsets, end };

  bool enter(State state) {
    state_ = state;
    return true;
  }
  bool field(bool& seen, State state, const std::string& name) {
    if (std::exchange(seen, true)) return refuse(fmt::format("tensor {} has \"{}\" twice", entry_.name, name));
    return enter(state);
  }
  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }
  bool refuse_value(const std::string& value) { return refuse(fmt::format("{} cannot be {}", where(), value)); }

  // What the value being read belongs to, for errors.
  std::string where() const {
    switch (state_) {
      case State::start: return "the header";
      case State::metadata: return fmt::format("__metadata__ \"{}\"", key_);
      case State::dtype: return "dtype of " + entry_.name;
      case State::want_shape:
      case State::shape: return "shape of " + entry_.name;
      case State::want_offsets:
      case State::offsets: return "data_offsets of " + entry_.name;
      default: return "the entry of " + entry_.name;
    }
  }

  State state_ = State::start;
  Entry entry_;
  std::string key_;
  bool has_metadata_ = false;
  std::vector<Entry> entries_;
  std::map<std::string, std::string> metadata_;
  std::string problem_;
};

// Elements × bits, in bytes; nothing when the product overflows or is no whole number of bytes.
std::optional<int64_t> byte_size(const std::vector<int64_t>& shape, int bits) {
  // A zero dimension makes the product zero whatever the others are, so look for it first: [2^40, 2^40, 0] is fine.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
  int64_t total = bits;
  for (int64_t size : shape) {
    const auto product = checked_product({total, size});
    if (!product) return std::nullopt;
    total = *product;
  }
  if (total % 8 != 0) return std::nullopt;
  return total / 8;
}

// Checks one entry against the buffer and turns it into a Tensor.
Result<Tensor> to_tensor(Entry entry, std::span<const std::byte> buffer, const std::string& label) {
  const int bits = dtype_bits(entry.dtype);
  if (bits == 0) {
    return Status(Code::unsupported, fmt::format("{}: tensor {} has the unknown dtype \"{}\"", label, entry.name,
                                                 entry.dtype.substr(0, 80)));
  }
  const int64_t begin = entry.offsets[0], end = entry.offsets[1];
  const auto size = byte_size(entry.shape, bits);
  if (!size) {
    return Status(Code::malformed, fmt::format("{}: tensor {} ({}, {}) has no representable size in bytes", label,
                                               entry.name, entry.dtype, shape_text(entry.shape)));
  }
  if (begin > end || end > static_cast<int64_t>(buffer.size())) {
    return Status(Code::malformed,
                  fmt::format("{}: tensor {} claims bytes {} to {} of a data buffer of {} bytes", label, entry.name,
                              begin, end, buffer.size()),
                  begin > end ? "" : "the file is probably truncated: download it again");
  }
  if (end - begin != *size) {
    return Status(Code::malformed, fmt::format("{}: tensor {} ({}, {}) needs {} bytes, its data_offsets span {}", label,
                                               entry.name, entry.dtype, shape_text(entry.shape), *size, end - begin));
  }
  Tensor tensor;
  tensor.name = std::move(entry.name);
  tensor.dtype = dtype_from_name(entry.dtype);
  tensor.dtype_name = std::move(entry.dtype);
  tensor.shape = std::move(entry.shape);
  tensor.data = buffer.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
  return tensor;
}

// `tensors` are sorted by offset: each must begin where the one before ended, and the last must end the buffer.
Status check_coverage(const std::vector<Tensor>& tensors, std::span<const std::byte> buffer, const std::string& label) {
  size_t cursor = 0;
  const Tensor* previous = nullptr;
  for (const Tensor& tensor : tensors) {
    const auto begin = static_cast<size_t>(tensor.data.data() - buffer.data());
    if (begin < cursor) {
      return Status(Code::malformed, fmt::format("{}: tensors {} and {} overlap at byte {} of the data", label,
                                                 previous->name, tensor.name, begin));
    }
    if (begin > cursor) {
      return Status(Code::malformed,
                    fmt::format("{}: bytes {} to {} of the data, before tensor {}, belong to no tensor", label, cursor,
                                begin, tensor.name));
    }
    cursor = begin + tensor.data.size();
    previous = &tensor;
  }
  if (cursor != buffer.size()) {
    return Status(Code::malformed, fmt::format("{}: bytes {} to {} of the data, at the end, belong to no tensor", label,
                                               cursor, buffer.size()));
  }
  return Status();
}

}  // namespace

Result<Safetensors> parse_safetensors(std::span<const std::byte> file, const std::string& label) {
  if (file.size() < 8) {
    return Status(Code::malformed, fmt::format("{}: {} bytes are too few for a safetensors file", label, file.size()),
                  "the file is truncated, or a Git LFS pointer: download it again");
  }
  uint64_t header_size = 0;
  for (int i = 7; i >= 0; --i) header_size = header_size << 8 | static_cast<uint64_t>(file[static_cast<size_t>(i)]);
  if (header_size > max_header_bytes) {
    return Status(
        Code::out_of_range,
        fmt::format("{}: the header claims {} bytes; the format allows {}", label, header_size, max_header_bytes),
        "this is not a safetensors file, or it is damaged");
  }
  if (header_size > file.size() - 8) {
    return Status(Code::malformed,
                  fmt::format("{}: the header claims {} bytes, the file has {} after its length", label, header_size,
                              file.size() - 8),
                  "the file is truncated: download it again");
  }
  std::string_view header(reinterpret_cast<const char*>(file.data()) + 8, static_cast<size_t>(header_size));
  header = header.substr(0, header.find_last_not_of(' ') + 1);  // writers pad with spaces
  if (header.empty() || header.front() != '{') {
    return Status(Code::malformed, fmt::format("{}: the header does not begin with {{", label));
  }
  HeaderReader reader;
  if (!nlohmann::json::sax_parse(header, &reader) || !reader.problem().empty()) {
    return Status(Code::malformed, fmt::format("{}: bad header: {}", label, reader.problem()));
  }

  Safetensors result;
  result.data_offset = 8 + static_cast<size_t>(header_size);
  result.metadata = std::move(reader.metadata());
  const std::span<const std::byte> buffer = file.subspan(result.data_offset);
  result.tensors.reserve(reader.entries().size());
  for (Entry& entry : reader.entries()) {
    ZAYA_ASSIGN(Tensor tensor, to_tensor(std::move(entry), buffer, label));
    result.tensors.push_back(std::move(tensor));
  }
  std::sort(result.tensors.begin(), result.tensors.end(),
            [](const Tensor& a, const Tensor& b) { return a.name < b.name; });
  const auto twice = std::adjacent_find(result.tensors.begin(), result.tensors.end(),
                                        [](const Tensor& a, const Tensor& b) { return a.name == b.name; });
  if (twice != result.tensors.end()) {
    return Status(Code::malformed, fmt::format("{}: tensor {} stands twice in the header", label, twice->name));
  }
  // Stable by name among empty tensors, which share an offset with their neighbour.
  std::stable_sort(result.tensors.begin(), result.tensors.end(), [](const Tensor& a, const Tensor& b) {
    return std::pair(a.data.data(), a.data.size()) < std::pair(b.data.data(), b.data.size());
  });
  ZAYA_RETURN_IF_ERROR(check_coverage(result.tensors, buffer, label));
  return result;
}

}  // namespace zaya::checkpoint
