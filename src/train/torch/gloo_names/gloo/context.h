// libtorch ships c10d/ProcessGroupGloo.hpp without the headers of gloo that it names. It needs names only: everything
// of gloo stays behind pointers inside libtorch, and nothing declared here is defined or called by us.
#pragma once

#include <chrono>

namespace gloo {

class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};

}  // namespace gloo
