#include "cpu/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "cpu/limits.h"
#include "striate/error.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kPartsPerThread = 4;
constexpr auto kWorkerSpin = std::chrono::microseconds(200);  // covers the gap between two ops
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

void run_range(RangeFunction function, const void* body, int64_t begin, int64_t end) {
  function(body, begin, end);
  _mm_sfence();  // stores past the caches wait for nothing else before another thread looks
}

/// Polls until `done` holds or `limit` has passed; says whether it holds. On a crowded machine it
/// leaves the processor to whoever may be holding things up.
template <class Done>
bool spin(std::chrono::microseconds limit, const Done& done) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  do {
    for (int i = 0; i < 64; ++i) {
      if (done()) return true;
      _mm_pause();
    }
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

/// A region is cut into a few parts per thread, which the caller and whatever workers are awake
/// claim one by one. So nobody waits for a worker that the system has not scheduled: with one
/// processor taken by another program, fixed shares ran ten times slower than one thread. Each
/// thread begins with its own share, because what it wrote there in the region before lies in its
/// caches. Shares are of neighbouring parts, so that they are the same elements however many parts
/// a region has.
class Pool {
 public:
  Pool() {
    // Only the forking thread survives in the child. Taking the lock first means that no region
    // is running then; the child forgets its workers and starts new ones when it needs them.
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().workers_ = 0;
                     instance().asleep_ = 0;
                     instance().active_ = 0;
                     instance().mutex_.unlock();
                   });
  }

  /// Never destroyed: idle workers sleep through the exit of the process.
  static Pool& instance() {
    static Pool* pool = new Pool;
    return *pool;
  }

  /// False, having done nothing, if another thread is using the pool.
  bool run(int64_t count, int parts, int threads, RangeFunction function, const void* body) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return false;
    spawn(threads - 1);
    while (static_cast<int>(shares_.size()) < threads) shares_.emplace_back();
    task_ = {function, body, count, parts, threads};
    error_ = nullptr;
    // Workers that a larger thread count once started stay out.
    admitted_.store(threads - 1, std::memory_order_relaxed);
    for (int share = 0; share < threads; ++share) shares_[share].claimed.store(0);
    unclaimed_.store(parts);
    regions_.fetch_add(1);
    if (asleep_.load() > 0) regions_.notify_all();

    inside_region = true;
    run_parts(0);
    inside_region = false;
    wait_for_workers();
    const std::exception_ptr error = std::exchange(error_, nullptr);
    lock.unlock();
    if (error) std::rethrow_exception(error);
    return true;
  }

 private:
  struct Task {
    RangeFunction function;
    const void* body;
    int64_t count;
    int parts, shares;
  };
  struct alignas(64) Share {
    std::atomic<int> claimed{0};  // of its parts
  };

  /// Starts workers up to `wanted`, or as many as the system grants.
  void spawn(int wanted) {
    if (workers_ >= wanted) return;
    sigset_t all, previous;  // signals belong to the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    try {
      for (; workers_ < wanted; ++workers_) {
        std::thread([this, index = workers_] { serve(index); }).detach();
      }
    } catch (const std::exception&) {
      // The work is then split among fewer.
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  }

  void serve(int index) {
    const FlushDenormals guard;
    inside_region = true;
    const auto work_waits = [&] {
      return unclaimed_.load() > 0 && index < admitted_.load(std::memory_order_relaxed);
    };
    for (;;) {
      const int seen = regions_.load();
      if (!work_waits() && !spin(kWorkerSpin, work_waits)) {
        asleep_.fetch_add(1);
        if (!work_waits()) regions_.wait(seen);
        asleep_.fetch_sub(1);
        continue;
      }
      // The caller leaves a region only when nobody is active, so that what a claim refers to
      // cannot change under a worker.
      active_.fetch_add(1);
      run_parts(index + 1);
      active_.fetch_sub(1);
    }
  }

  void run_parts(int own_share) {
    for (int left = unclaimed_.load(); left > 0;) {
      if (unclaimed_.compare_exchange_weak(left, left - 1)) {
        run_part(claim(own_share));
        left = unclaimed_.load();
      }
    }
  }

  /// One of the parts that are left, of which there is one for each that was taken off unclaimed_.
  int claim(int own_share) {
    for (int share = own_share % task_.shares;; share = (share + 1) % task_.shares) {
      const int first = first_part(share), last = first_part(share + 1);
      std::atomic<int>& claimed = shares_[share].claimed;
      for (int n = claimed.load(); first + n < last;) {
        if (claimed.compare_exchange_weak(n, n + 1)) return first + n;
      }
    }
  }
  int first_part(int share) const { return task_.parts * share / task_.shares; }

  void run_part(int part) {
    const auto begin_of = [&](int64_t n) { return task_.count * n / task_.parts; };
    try {
      run_range(task_.function, task_.body, begin_of(part), begin_of(part + 1));
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void wait_for_workers() {
    const auto finished = [&] { return active_.load() == 0; };
    while (!spin(kCallerSpin, finished)) std::this_thread::sleep_for(kCallerSpin);
  }

  std::mutex mutex_;  // held while a region runs
  int workers_ = 0;
  Task task_{};
  std::mutex error_mutex_;
  std::exception_ptr error_;
  std::deque<Share> shares_;                   // one for each thread that was ever asked for
  alignas(64) std::atomic<int> unclaimed_{0};  // parts of the current region
  std::atomic<int> admitted_{0};               // workers that may take part in it
  alignas(64) std::atomic<int> active_{0};     // workers inside it
  alignas(64) std::atomic<int> regions_{0};    // so far, modulo 2^32; idle workers sleep on it
  std::atomic<int> asleep_{0};
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
  const int64_t grains = count / std::max<int64_t>(grain, 1), threads = num_threads();
  // A part per thread, or a few where each is then still worth it.
  const int64_t most = threads * kPartsPerThread;
  const int64_t parts = grains >= most ? most : std::min<int64_t>(grains, threads);
  if (parts < 2 || threads < 2 || inside_region ||
      !Pool::instance().run(count, static_cast<int>(parts),
                            static_cast<int>(std::min<int64_t>(grains, threads)), function, body)) {
    run_range(function, body, 0, count);
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
