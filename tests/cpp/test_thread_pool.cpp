// The CPU threads: coverage of ranges, nesting, exceptions, fork, denormals.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <limits>
#include <stdexcept>
#include <thread>
#include <vector>

#include "cpu/limits.h"
#include "cpu/thread_pool.h"
#include "striate/striate.h"

namespace st = striate;
using st::cpu::parallel_for;

namespace {

/// Sets the thread count for a scope.
struct Threads {
  explicit Threads(int count) : previous(st::num_threads()) { st::set_num_threads(count); }
  ~Threads() { st::set_num_threads(previous); }
  int previous;
};

/// How often parallel_for visited each of `count` positions.
std::vector<int> visits(int64_t count, int64_t grain) {
  std::vector<std::atomic<int>> seen(count);
  parallel_for(count, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++seen[i];
  });
  return {seen.begin(), seen.end()};
}

double half_of_smallest() {
  volatile double smallest = std::numeric_limits<double>::min();
  return smallest / 2;
}

}  // namespace

TEST_CASE("every position is visited once") {
  for (int threads : {1, 2, 3, 8}) {
    const Threads scope(threads);
    for (int64_t count : {0, 1, 2, 7, 64, 1001}) {
      for (int64_t grain : {0, 1, 3, 500, 5000}) {
        CHECK(visits(count, grain) == std::vector<int>(count, 1));
      }
    }
  }
}

TEST_CASE("small work stays with the caller") {
  const Threads scope(4);
  const auto caller = std::this_thread::get_id();
  parallel_for(10, 6, [&](int64_t begin, int64_t end) {
    CHECK(begin == 0);
    CHECK(end == 10);
    CHECK(std::this_thread::get_id() == caller);
  });
}

TEST_CASE("nested calls run serially") {
  const Threads scope(3);
  std::atomic<int64_t> total{0};
  parallel_for(3, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto outer = std::this_thread::get_id();
      parallel_for(100, 1, [&](int64_t b, int64_t e) {
        if (std::this_thread::get_id() == outer) total += e - b;
      });
    }
  });
  CHECK(total == 300);
}

TEST_CASE("exceptions reach the caller and the pool goes on") {
  const Threads scope(4);
  for (int64_t bad = 0; bad < 4; ++bad) {
    CHECK_THROWS_WITH_AS(parallel_for(4, 1,
                                      [&](int64_t begin, int64_t) {
                                        if (begin == bad) throw std::domain_error("bad range");
                                      }),
                         "bad range", std::domain_error);
    CHECK(visits(100, 1) == std::vector<int>(100, 1));
  }
}

TEST_CASE("several callers at once") {
  const Threads scope(2);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (int i = 0; i < 500; ++i) wrong += visits(16, 1) != std::vector<int>(16, 1);
    });
  }
  for (std::thread& caller : callers) caller.join();
  CHECK(wrong == 0);
}

TEST_CASE("denormals are flushed inside regions only") {
  REQUIRE(half_of_smallest() > 0);
  for (int threads : {1, 2}) {
    const Threads scope(threads);
    std::vector<double> results(2, -1);
    parallel_for(2, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) results[i] = half_of_smallest();
    });
    CHECK(results == std::vector<double>(2, 0.0));
    CHECK(half_of_smallest() > 0);
  }
}

TEST_CASE("a forked child has threads of its own") {
  const Threads scope(2);
  visits(100, 1);
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);  // a hang must fail, not wait
    bool right = visits(100, 1) == std::vector<int>(100, 1);
    right &= st::sum(st::ones({100000})).item() == 100000;
    _exit(right ? 0 : 1);
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
  CHECK(visits(100, 1) == std::vector<int>(100, 1));
}

TEST_CASE("idle threads take no processor time") {
  const Threads scope(2);
  visits(100, 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  const std::clock_t before = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC < 0.02);
}

TEST_CASE("thread counts are checked") {
  CHECK_THROWS_AS(st::set_num_threads(0), st::ArgumentError);
  CHECK_THROWS_AS(st::set_num_threads(1025), st::ArgumentError);
  CHECK(st::num_threads() >= 1);
}

TEST_CASE("limits of the process are plausible") {
  CHECK(st::cpu::available_processors() >= 1);
  CHECK(st::cpu::available_processors() <= static_cast<int>(std::thread::hardware_concurrency()));
  CHECK(st::cpu::available_memory() > (int64_t{64} << 20));
}
