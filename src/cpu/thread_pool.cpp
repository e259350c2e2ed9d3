#include "cpu/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cpu/limits.h"
#include "striate/error.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

constexpr int kMaxThreads = 1024;
constexpr auto kWorkerSpin = std::chrono::microseconds(40);  // covers the gap between two ops
constexpr auto kCallerSpin = std::chrono::microseconds(200);

thread_local bool inside_region = false;

/// Denormals cost 40 to 100 times a normal operation, so kernels flush them to zero: in serial
/// regions too, or the bits would depend on the thread count. The caller's mode comes back after.
class FlushDenormals {
 public:
  FlushDenormals() : previous_(_mm_getcsr()) {
    if ((previous_ & kFlush) != kFlush) _mm_setcsr(previous_ | kFlush);
  }
  ~FlushDenormals() {
    if ((previous_ & kFlush) != kFlush) _mm_setcsr(previous_);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kFlush = 0x8040;  // MXCSR: flush results, denormals are zero
  const unsigned previous_;
};

/// Polls until `done` holds or `limit` has passed; says whether it holds.
template <class Done>
bool spin(std::chrono::microseconds limit, const Done& done) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      _mm_pause();
    }
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

class Pool {
 public:
  Pool() {
    // Only the forking thread survives in the child. Taking the lock first means that no region
    // is running then; the child forgets its workers and starts new ones when it needs them.
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().workers_.clear();
                     instance().mutex_.unlock();
                   });
  }

  /// Never destroyed: idle workers sleep through the exit of the process.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  /// False, having done nothing, if another thread is using the pool.
  bool run(int64_t count, int parts, RangeFunction function, const void* body) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    spawn(parts - 1);
    parts = std::min(parts, static_cast<int>(workers_.size()) + 1);
    task_ = {function, body, count, parts};
    remaining_.store(parts - 1, std::memory_order_relaxed);
    for (int i = 0; i < parts - 1; ++i) workers_[i]->wake();

    std::exception_ptr error;
    inside_region = true;
    run_part(0, error);
    inside_region = false;
    wait_for_workers();

    for (int i = 0; i < parts - 1; ++i) {
      std::exception_ptr theirs = std::exchange(workers_[i]->error, nullptr);
      if (!error) error = std::move(theirs);
    }
    lock.unlock();
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  struct Task {
    RangeFunction function;
    const void* body;
    int64_t count;
    int parts;
  };

  struct alignas(64) Worker {
    enum State : int { kIdle, kAsleep, kWorking };
    std::atomic<int> state{kIdle};
    std::exception_ptr error;

    void wake() {
      if (state.exchange(kWorking, std::memory_order_acq_rel) == kAsleep) state.notify_one();
    }
    void wait_for_work() {
      const auto working = [&] { return state.load(std::memory_order_acquire) == kWorking; };
      if (spin(kWorkerSpin, working)) return;
      int expected = kIdle;
      state.compare_exchange_strong(expected, kAsleep, std::memory_order_acq_rel);
      while (!working()) state.wait(kAsleep, std::memory_order_acquire);
    }
  };

  /// Starts workers up to `wanted`, or as many as the system grants.
  void spawn(int wanted) {
    if (static_cast<int>(workers_.size()) >= wanted) return;
    workers_.reserve(wanted);
    sigset_t all, previous;  // signals belong to the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    try {
      for (int part = static_cast<int>(workers_.size()) + 1; part <= wanted; ++part) {
        auto worker = std::make_unique<Worker>();
        std::thread([this, part, self = worker.get()] { serve(*self, part); }).detach();
        workers_.push_back(std::move(worker));
      }
    } catch (const std::exception&) {
      // The work is then split among fewer.
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  }

  void serve(Worker& worker, int part) {
    const FlushDenormals guard;
    inside_region = true;
    for (;;) {
      worker.wait_for_work();
      run_part(part, worker.error);
      worker.state.store(Worker::kIdle, std::memory_order_relaxed);
      if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == kCallerAsleep + 1) {
        remaining_.notify_one();
      }
    }
  }

  void run_part(int part, std::exception_ptr& error) {
    const int64_t size = task_.count / task_.parts, extra = task_.count % task_.parts;
    const int64_t begin = part * size + std::min<int64_t>(part, extra);
    try {
      task_.function(task_.body, begin, begin + size + (part < extra));
    } catch (...) {
      error = std::current_exception();
    }
  }

  void wait_for_workers() {
    if (spin(kCallerSpin, [&] { return remaining_.load(std::memory_order_acquire) == 0; })) return;
    int left = remaining_.fetch_add(kCallerAsleep, std::memory_order_acq_rel) + kCallerAsleep;
    while (left != kCallerAsleep) {
      remaining_.wait(left, std::memory_order_acquire);
      left = remaining_.load(std::memory_order_acquire);
    }
  }

  static constexpr int kCallerAsleep = 1 << 20;  // added to remaining_

  std::mutex mutex_;  // held while a region runs
  std::vector<std::unique_ptr<Worker>> workers_;
  Task task_{};
  alignas(64) std::atomic<int> remaining_{0};
};

int default_threads() {
  const char* forced = std::getenv("STRIATE_NUM_THREADS");
  if (forced == nullptr || *forced == '\0') return std::min(available_processors(), kMaxThreads);
  const std::string_view text = forced;
  int count = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), count);
  require<ArgumentError>(parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() &&
                             count >= 1 && count <= kMaxThreads,
                         "STRIATE_NUM_THREADS: expected 1 to ", kMaxThreads, ", got '", text, "'");
  return count;
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{default_threads()};
  return count;
}

}  // namespace

void parallel_for_impl(int64_t count, int64_t grain, RangeFunction function, const void* body) {
  if (count <= 0) return;
  const FlushDenormals guard;
  const int64_t parts = std::min<int64_t>(count / std::max<int64_t>(grain, 1), num_threads());
  if (parts < 2 || inside_region ||
      !Pool::instance().run(count, static_cast<int>(parts), function, body)) {
    function(body, 0, count);
  }
}

}  // namespace striate::cpu

namespace striate {

int num_threads() { return cpu::thread_count().load(std::memory_order_relaxed); }

void set_num_threads(int count) {
  require<ArgumentError>(count >= 1 && count <= cpu::kMaxThreads, "set_num_threads: expected 1 to ",
                         cpu::kMaxThreads, ", got ", count);
  cpu::thread_count().store(count, std::memory_order_relaxed);
}

}  // namespace striate
