// A fixed team of threads that run one function together. Workers spin briefly for the next piece of work, then sleep
// on a futex, so that a short gap between two operations costs a microsecond and an idle engine costs nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace zaya::cpu {

class ThreadTeam {
 public:
  // `size` counts the calling thread; 0 means default_size().
  explicit ThreadTeam(int size = 0);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int size() const { return size_; }

  // Runs body(worker) once on each worker, 0 ≤ worker < size(), the caller being worker 0; returns when all are done.
  // Not reentrant: body must not call run() of the same team. One caller at a time.
  void run(const std::function<void(int worker)>& body);

  // Runs body(begin, end, worker) over [0, count) in pieces of at most `grain`; free workers take the next piece.
  // Which worker runs which piece is not fixed, so results must not depend on it.
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t begin, int64_t end, int worker)>& body);

  // The physical cores among the processors this process may use (its affinity mask), at least 1: two threads on one
  // core share the units that the kernels keep busy.
  static int default_size();

 private:
  void work(int worker);

  int size_;
  const std::function<void(int)>* body_ = nullptr;
  alignas(64) std::atomic<uint32_t> generation_{0};  // bumped when there is work; workers wait for it to change
  alignas(64) std::atomic<int> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace zaya::cpu
