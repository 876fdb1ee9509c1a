#include "cpu/thread_team.h"

#include <algorithm>
#include <utility>

#include "cpu/topology.h"

#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace zaya::cpu {
namespace {

// Spins of about 40 cycles each before a waiter sleeps: roughly 50 µs, longer than the gap between two operations of a
// step and short enough that a preempted team on a busy machine gives its time back.
constexpr int kSpins = 2000;

// Linux takes a thread's processor for another at the first tick after some 1 to 3 ms (its base slice), a tick being 1
// to 4 ms. Who goes before that leaves no piece behind.
constexpr auto kTurn = std::chrono::milliseconds(2);
// After a gap between two looks at the clock as long as this, the worker was off its processor and its turn begins anew
// (or the piece was a long one, and then nothing helps).
constexpr auto kGap = std::chrono::milliseconds(1);

constexpr uint32_t kOpen = 1u << 31;

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

// Waits until `value` differs from `old`.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  for (int spin = 0; spin < kSpins; ++spin) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  value.wait(old, std::memory_order_acquire);
}

// Keeps the calling thread on the node that the plan gives its worker, so that memory which it touches first stays
// near. Which of the node's processors it runs on is the system's choice: tied to one, a worker would wait for whatever
// else runs there. Nothing to do on one node.
void stay_on_node([[maybe_unused]] int worker, [[maybe_unused]] int workers) {
#if defined(__linux__)
  if (machine().nodes() == 1) return;
  const int node = plan_workers(machine(), workers)[static_cast<size_t>(worker)]->node;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  for (const Processor& p : machine().processors) {
    if (p.node == node && p.id < CPU_SETSIZE) CPU_SET(p.id, &mask);
  }
  sched_setaffinity(0, sizeof mask, &mask);  // a wish: without it everything works, slower
#endif
}

}  // namespace

int ThreadTeam::default_size() { return machine().cores(); }

bool ThreadTeam::Turn::over() {
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ > kGap) begin_ = now;
  last_ = now;
  return now - begin_ > kTurn;
}

void ThreadTeam::Turn::give_way() {
  std::this_thread::yield();
  begin_ = last_ = std::chrono::steady_clock::now();
}

ThreadTeam::ThreadTeam(int size)
    : size_(size > 0 ? size : default_size()), turns_(static_cast<size_t>(size_)), parts_(turns_.size()) {
  for (int worker = 1; worker < size_; ++worker) {
    threads_.emplace_back([this, worker] {
      stay_on_node(worker, size_);
      work(worker);
    });
  }
}

ThreadTeam::~ThreadTeam() {
  stopping_.store(true);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool ThreadTeam::enter() {
  uint32_t inside = inside_.load(std::memory_order_relaxed);
  while ((inside & kOpen) != 0) {
    if (inside_.compare_exchange_weak(inside, inside + 1, std::memory_order_acquire)) return true;
  }
  return false;
}

void ThreadTeam::leave() {
  if (inside_.fetch_sub(1, std::memory_order_acq_rel) == 1) inside_.notify_one();  // closed, and the last
}

void ThreadTeam::work(int worker) {
  Turn& turn = turns_[static_cast<size_t>(worker)];
  uint32_t seen = 0;
  while (true) {
    wait_for_change(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load()) return;
    while (enter()) {
      (*body_)(worker);
      leave();
      if (!turn.over()) break;
      turn.give_way();
    }
  }
}

void ThreadTeam::together(const std::function<void(int)>& body) {
  body_ = &body;
  inside_.store(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  body(0);
  for (uint32_t inside = inside_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen; inside != 0;
       inside = inside_.load(std::memory_order_acquire)) {
    wait_for_change(inside_, inside);
  }
}

void ThreadTeam::run(const std::function<void(int)>& body) {
  if (size_ == 1) return body(0);
  std::vector<char> came(static_cast<size_t>(size_), 0);  // each worker looks at its own
  std::atomic<int> missing{size_ - 1};
  together([&](int worker) {
    if (worker > 0) {
      if (std::exchange(came[static_cast<size_t>(worker)], 1) != 0) return;
      body(worker);
      if (missing.fetch_sub(1, std::memory_order_acq_rel) == 1) missing.notify_one();
      return;
    }
    body(0);
    for (int left = missing.load(std::memory_order_acquire); left != 0;
         left = missing.load(std::memory_order_acquire)) {
      wait_for_change(missing, left);
    }
  });
}

int64_t ThreadTeam::take_piece(int worker) {
  for (int i = 0; i < size_; ++i) {
    Part& part = parts_[static_cast<size_t>((worker + i) % size_)];
    if (part.next.load(std::memory_order_relaxed) >= part.end) continue;
    const int64_t piece = part.next.fetch_add(1, std::memory_order_relaxed);
    if (piece < part.end) return piece;
  }
  return -1;
}

void ThreadTeam::parallel_for(int64_t count, int64_t grain, const std::function<void(int64_t, int64_t, int)>& body) {
  grain = std::max<int64_t>(1, grain);
  if (count <= grain || size_ == 1) {
    if (count > 0) body(0, count, 0);
    return;
  }
  const int64_t pieces = (count + grain - 1) / grain;
  for (int worker = 0; worker < size_; ++worker) {
    Part& part = parts_[static_cast<size_t>(worker)];
    part.next.store(pieces * worker / size_, std::memory_order_relaxed);
    part.end = pieces * (worker + 1) / size_;
  }
  together([&](int worker) {
    // The caller stays: without it nothing goes on.
    while (worker == 0 || !turns_[static_cast<size_t>(worker)].over()) {
      const int64_t piece = take_piece(worker);
      if (piece < 0) return;
      body(piece * grain, std::min(count, (piece + 1) * grain), worker);
    }
  });
}

}  // namespace zaya::cpu
