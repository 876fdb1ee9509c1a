// A fixed team of threads that run one function together. Workers spin briefly for the next piece of work, then sleep
// on a futex, so that a short gap between two operations costs a microsecond and an idle engine costs nothing.
//
// Beside other processes a worker may be off its processor at any time. So nobody waits for a worker that has no piece,
// and workers give their processor up between two pieces, before the system takes it in the middle of one.
#pragma once

#include <atomic>
#include <chrono>
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

  // Runs body(begin, end, worker) over [0, count) in pieces of at most `grain`. Each worker begins with a part of its
  // own and goes through it in order, so that it reads on where it asked memory for more; who is done takes pieces from
  // the ends of the others' parts. Which worker runs which piece is not fixed, so results must not depend on it.
  void parallel_for(int64_t count, int64_t grain,
                    const std::function<void(int64_t begin, int64_t end, int worker)>& body);

  // The physical cores among the processors this process may use (its affinity mask), at least 1: two threads on one
  // core share the units that the kernels keep busy.
  static int default_size();

 private:
  // How long a worker has had its processor, as far as it can tell.
  class alignas(64) Turn {
   public:
    bool over();
    void give_way();

   private:
    std::chrono::steady_clock::time_point begin_, last_;
  };

  // The pieces [next, end) of a worker's part are not taken yet.
  struct alignas(64) Part {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  // The next piece for this worker, −1 where none is left.
  int64_t take_piece(int worker);

  void work(int worker);

  // Runs body(0) here and body(worker) on the workers that come while it runs, some perhaps more than once; returns
  // when all who came are done.
  void together(const std::function<void(int worker)>& body);

  // Of a worker: takes part in what the team does now, unless that is over.
  bool enter();
  void leave();

  int size_;
  const std::function<void(int)>* body_ = nullptr;
  std::vector<Turn> turns_;
  std::vector<Part> parts_;
  alignas(64) std::atomic<uint32_t> generation_{0};  // bumped when there is work; workers wait for it to change
  alignas(64) std::atomic<uint32_t> inside_{0};      // workers that take part; kOpen: more may come
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace zaya::cpu
