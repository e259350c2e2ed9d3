#include "cpu/thread_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdlib>
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
/// caches, and because processors then hand few cache lines to each other: where they share no
/// cache, each costs up to a microsecond.
class Pool {
 public:
  Pool() {
    // Only the forking thread survives in the child. Taking the lock first means that no region
    // is running then; the child forgets its workers and starts new ones when it needs them.
    pthread_atfork([] { instance().mutex_.lock(); }, [] { instance().mutex_.unlock(); },
                   [] {
                     instance().workers_ = 0;
                     instance().asleep_ = 0;
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
    error_ = nullptr;
    task_ = {function, body, count};
    const Region region{region_.load().number + 1, static_cast<uint16_t>(parts),
                        static_cast<uint16_t>(threads)};
    if (region.number % kRefresh == 0)
      for (Share& share : shares_) share.claimed.store({region.number, 0});
    region_.store(region);
    published_.fetch_add(1);
    if (asleep_.load() > 0) published_.notify_all();

    inside_region = true;
    expected_ += parts - run_parts(region, 0);
    inside_region = false;
    const auto finished = [&] { return finished_.load() == expected_; };
    while (!spin(kCallerSpin, finished)) std::this_thread::sleep_for(kCallerSpin);
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
  };
  /// What is known about a region without its task, which only those look at who have claimed one
  /// of its parts: until that is done, the caller cannot go on to the next.
  struct alignas(8) Region {
    uint32_t number;  // counts up, modulo 2^32
    uint16_t parts, shares;
  };
  /// Parts of a share that were claimed in the region of this number; none yet in a later one.
  struct alignas(8) Claimed {
    uint32_t region;
    int32_t count;
  };
  // Claims of shares that lie idle would otherwise look like those of a later region some day.
  static constexpr uint32_t kRefresh = 1U << 30;
  struct alignas(64) Share {
    std::atomic<Claimed> claimed;
  };
  static_assert(kMaxThreads * kPartsPerThread <= UINT16_MAX);

  /// Starts workers up to `wanted`, or as many as the system grants.
  void spawn(int wanted) {
    if (workers_ >= wanted) return;
    sigset_t all, previous;  // signals belong to the program's own threads
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &previous);
    try {
      for (; workers_ < wanted; ++workers_) {
        std::thread([this, index = workers_] { serve(index + 1); }).detach();
      }
    } catch (const std::exception&) {
      // The work is then split among fewer.
    }
    pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  }

  void serve(int own_share) {
    const FlushDenormals guard;
    inside_region = true;
    uint32_t done = 0;  // the last region that this worker has seen
    // Workers that a larger thread count once started stay out.
    const auto work_waits = [&] {
      const Region region = region_.load();
      return region.number != done && own_share < region.shares;
    };
    for (;;) {
      const int seen = published_.load();
      if (!work_waits() && !spin(kWorkerSpin, work_waits)) {
        asleep_.fetch_add(1);
        if (!work_waits()) published_.wait(seen);
        asleep_.fetch_sub(1);
        continue;
      }
      const Region region = region_.load();
      const int parts = run_parts(region, own_share);
      if (parts > 0) finished_.fetch_add(parts);
      done = region.number;
    }
  }

  /// Runs parts until none is left; says how many.
  int run_parts(const Region& region, int own_share) {
    for (int done = 0;; ++done) {
      const int part = claim(region, own_share);
      if (part < 0) return done;
      run_part(part, region.parts);
    }
  }

  /// A part that nobody has, or -1. Parts are interleaved, so that all threads read and write the
  /// same neighbourhood of memory.
  int claim(const Region& region, int own_share) {
    for (int i = 0; i < region.shares; ++i) {
      const int share = (own_share + i) % region.shares;
      std::atomic<Claimed>& claimed = shares_[share].claimed;
      for (Claimed now = claimed.load();;) {
        const auto ahead = static_cast<int32_t>(now.region - region.number);
        if (ahead > 0) return -1;  // this region is over
        const int count = ahead == 0 ? now.count : 0;
        const int part = share + count * region.shares;
        if (part >= region.parts) break;
        if (claimed.compare_exchange_weak(now, {region.number, count + 1})) return part;
      }
    }
    return -1;
  }

  void run_part(int part, int parts) {
    const int64_t size = task_.count / parts, extra = task_.count % parts;
    const int64_t begin = part * size + std::min<int64_t>(part, extra);
    try {
      run_range(task_.function, task_.body, begin, begin + size + (part < extra));
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  std::mutex mutex_;  // held while a region runs
  int workers_ = 0;
  uint32_t expected_ = 0;  // of finished_
  std::mutex error_mutex_;
  std::exception_ptr error_;
  // What the caller tells the workers, who poll it, in one cache line.
  alignas(64) std::atomic<Region> region_{};
  std::atomic<int> published_{0};  // regions, modulo 2^32; idle workers sleep on it
  Task task_{};
  alignas(64) std::atomic<uint32_t> finished_{0};  // parts that workers ever ran, modulo 2^32
  alignas(64) std::atomic<int> asleep_{0};
  static Share shares_[kMaxThreads];
};
constinit Pool::Share Pool::shares_[kMaxThreads] = {};

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
