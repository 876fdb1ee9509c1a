// libtorch ships c10d/ProcessGroupGloo.hpp without the headers of gloo that it names. It needs names only: everything
// of gloo stays behind pointers inside libtorch, and nothing declared here is defined or called by us.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace gloo::rendezvous {

// The virtual functions that libtorch's adaptor overrides.
class Store {
 public:
  virtual ~Store();
  virtual void set(const std::string& key, const std::vector<char>& value) = 0;
  virtual std::vector<char> get(const std::string& key) = 0;
  virtual void wait(const std::vector<std::string>& keys) = 0;
  virtual void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) = 0;
};

}  // namespace gloo::rendezvous
