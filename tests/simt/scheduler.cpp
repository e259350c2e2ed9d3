// Runs the blocks of a grid one after another, and the threads of a block as fibers: a warp goes on
// until all of its lanes wait or have ended, then another does. SIMT_SCHEDULE is forward (lowest
// thread first; the default), reverse, or random:SEED; a kernel must do the same under all of them.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "race.h"
#include "simt.h"
#undef threadIdx
#undef blockIdx
#undef blockDim
#undef gridDim

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#else
void __sanitizer_start_switch_fiber(void**, const void*, size_t) {}
void __sanitizer_finish_switch_fiber(void*, const void**, size_t*) {}
#endif

// Saves the registers that a call keeps and the stack pointer, and goes on with another stack.
extern "C" void simt_switch(void** save, void* load);
asm(R"(.globl simt_switch
simt_switch:
  push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
  ret)");

namespace simt {

Context context;

namespace {

constexpr int kMaxThreads = 1024;
constexpr size_t kStack = 256 << 10, kGuard = 4 << 10;
constexpr size_t kMaxShared = 99 << 10;  // per block, of sm_86, sm_89 and sm_120

enum class State { kReady, kBarrier, kWarp, kEnded };

struct Stack {
  void* pointer = nullptr;
  const void* bottom = nullptr;
  size_t size = 0;
  void* fake = nullptr;  // AddressSanitizer's
};

struct Fiber {
  Stack stack;
  State state = State::kEnded;
  Site site;                   // of the barrier
  Request* request = nullptr;  // of the warp operation
  std::deque<Copy> copies;
  std::vector<size_t> groups;  // those committed: how many of `copies` are theirs or older
};

const char* kernel_name = nullptr;
const std::function<void()>* kernel = nullptr;
std::vector<Fiber> fibers(kMaxThreads);
std::vector<uint32_t> ready_lanes;  // per warp
Stack scheduler;
std::byte* stacks = nullptr;
int threads = 0, running = -1, current_warp = 0, alive = 0, at_barrier = 0;
void* shared = nullptr;

// --- Order --------------------------------------------------------------------------------------

enum class Order { kForward, kReverse, kRandom } order;
std::mt19937 generator;

void read_schedule() {
  const char* text = std::getenv("SIMT_SCHEDULE");
  const std::string schedule = text == nullptr ? "forward" : text;
  if (schedule == "reverse") {
    order = Order::kReverse;
  } else if (schedule.starts_with("random:")) {
    order = Order::kRandom;
    generator.seed(static_cast<unsigned>(std::atoi(schedule.c_str() + 7)));
  } else if (schedule != "forward") {
    fail("SIMT_SCHEDULE: expected forward, reverse or random:SEED");
  }
}

/// One of [0, count) for which allowed(i), or -1.
template <class Allowed>
int choose(int count, const Allowed& allowed) {
  const int first = order == Order::kRandom ? static_cast<int>(generator() % count) : 0;
  for (int step = 0; step < count; ++step) {
    const int forward = (first + step) % count;
    const int i = order == Order::kReverse ? count - 1 - forward : forward;
    if (allowed(i)) return i;
  }
  return -1;
}

// --- Fibers -------------------------------------------------------------------------------------

void switch_stack(Stack& from, const Stack& to) {
  __sanitizer_start_switch_fiber(&from.fake, to.bottom, to.size);
  simt_switch(&from.pointer, to.pointer);
  __sanitizer_finish_switch_fiber(from.fake, nullptr, nullptr);
}

void wait_as(State state) {
  fibers[running].state = state;
  ready_lanes[running / 32] &= ~(1u << running % 32);
  switch_stack(fibers[running].stack, scheduler);
}

void make_ready(int thread) {
  fibers[thread].state = State::kReady;
  ready_lanes[thread / 32] |= 1u << thread % 32;
}

bool same_place(const Site& a, const Site& b) {
  return a.line() == b.line() && std::strcmp(a.file_name(), b.file_name()) == 0;
}

void print_waiting() {
  for (int t = 0; t < threads; ++t) {
    const Fiber& fiber = fibers[t];
    if (fiber.state != State::kBarrier && fiber.state != State::kWarp) continue;
    const bool barrier = fiber.state == State::kBarrier;
    const Site& site = barrier ? fiber.site : fiber.request->site;
    std::fprintf(stderr, "simt:   thread %d waits in %s at %s:%u\n", t,
                 barrier ? "__syncthreads" : fiber.request->operation, site.file_name(),
                 static_cast<unsigned>(site.line()));
  }
}

void end_barrier_if_complete() {
  if (at_barrier == 0 || at_barrier < alive) return;
  const Site* first = nullptr;
  for (int t = 0; t < threads; ++t) {
    if (fibers[t].state != State::kBarrier) continue;
    if (first == nullptr) first = &fibers[t].site;
    if (!same_place(fibers[t].site, *first)) {
      print_waiting();
      fail("divergence: the threads of a block wait at different barriers");
    }
  }
  for (int t = 0; t < threads; ++t) {
    if (fibers[t].state == State::kBarrier) make_ready(t);
  }
  at_barrier = 0;
  race::barrier();
}

void fiber_main() {
  __sanitizer_finish_switch_fiber(nullptr, &scheduler.bottom, &scheduler.size);
  for (;;) {  // a fiber lives on: its stack serves the thread of the same number in later blocks
    (*kernel)();
    --alive;
    end_barrier_if_complete();
    wait_as(State::kEnded);
  }
}

void create_stacks() {
  constexpr size_t kBytes = kMaxThreads * (kStack + kGuard);
  stacks = static_cast<std::byte*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  for (int t = 0; t < kMaxThreads; ++t) {
    std::byte* const bottom = stacks + t * (kStack + kGuard) + kGuard;
    mprotect(bottom - kGuard, kGuard, PROT_NONE);
    auto* const top = reinterpret_cast<void**>(bottom + kStack);
    // Switching to it pops six registers and returns to fiber_main, with rsp as after a call.
    top[-2] = reinterpret_cast<void*>(fiber_main);
    fibers[t].stack = {top - 8, bottom, kStack, nullptr};
  }
  race::ignore(stacks, kBytes);
  race::ignore(&context, sizeof context);
}

void run_block(dim3 block, size_t shared_bytes) {
  if (shared_bytes > 0) std::memset(shared, 0xFF, shared_bytes);
  race::begin_block();
  alive = threads;
  ready_lanes.assign((threads + 31) / 32, 0);
  for (int t = 0; t < threads; ++t) {
    fibers[t].copies.clear();
    fibers[t].groups.clear();
    make_ready(t);
  }
  while (alive > 0) {
    const auto is_ready = [](int warp) { return ready_lanes[warp] != 0; };
    if (current_warp >= std::ssize(ready_lanes) || !is_ready(current_warp)) {
      current_warp = choose(static_cast<int>(ready_lanes.size()), is_ready);
    }
    if (current_warp < 0) {
      print_waiting();
      fail("deadlock: every thread waits");
    }
    const uint32_t lanes = ready_lanes[current_warp];
    running = 32 * current_warp + choose(32, [&](int i) { return (lanes >> i & 1) != 0; });
    const unsigned t = static_cast<unsigned>(running);
    context.thread = {t % block.x, t / block.x % block.y, t / (block.x * block.y)};
    race::run(running);
    switch_stack(scheduler, fibers[running].stack);
    race::run(-1);
  }
}

}  // namespace

// --- For simt.h ---------------------------------------------------------------------------------

void fail(const char* message, Site site) {
  const uint3 b = context.block, t = context.thread;
  std::fprintf(stderr, "simt: %s\nsimt: in kernel '%s', block (%u, %u, %u), thread (%u, %u, %u)",
               message, kernel_name, b.x, b.y, b.z, t.x, t.y, t.z);
  if (site.line() != 0) {
    std::fprintf(stderr, ", at %s:%u", site.file_name(), static_cast<unsigned>(site.line()));
  }
  std::fputc('\n', stderr);
  std::_Exit(1);  // the other fibers' stacks cannot be unwound
}

void run_grid(const char* name, dim3 grid, dim3 block, size_t shared_bytes,
              const std::function<void()>& body) {
  kernel_name = name;
  kernel = &body;
  context = {{}, {}, block, grid};
  if (stacks == nullptr) {
    read_schedule();
    create_stacks();
  }
  const size_t block_size = size_t{block.x} * block.y * block.z;
  if (block_size == 0 || block_size > kMaxThreads || block.z > 64) fail("bad block size");
  const size_t grid_size = size_t{grid.x} * grid.y * grid.z;
  if (grid_size == 0 || grid.x > INT32_MAX || grid.y > 65535 || grid.z > 65535) {
    fail("bad grid size");
  }
  if (shared_bytes > kMaxShared) fail("more shared memory than some architectures have");
  threads = static_cast<int>(block_size);
  if (shared_bytes > 0 && posix_memalign(&shared, 128, shared_bytes) != 0) std::abort();
  race::begin_grid(shared, shared_bytes);
  std::vector<unsigned> blocks(grid_size);
  for (size_t i = 0; i < grid_size; ++i) {
    blocks[order == Order::kReverse ? grid_size - 1 - i : i] = static_cast<unsigned>(i);
  }
  if (order == Order::kRandom) std::shuffle(blocks.begin(), blocks.end(), generator);
  for (const unsigned i : blocks) {
    context.block = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    run_block(block, shared_bytes);
  }
  std::free(shared);
  shared = nullptr;
}

void* dynamic_shared() {
  if (shared == nullptr) fail("the launch asked for no dynamic shared memory");
  return shared;
}

int lane() { return running % 32; }

void barrier(Site site) {
  fibers[running].site = site;
  fibers[running].state = State::kBarrier;
  ++at_barrier;
  end_barrier_if_complete();
  if (fibers[running].state == State::kBarrier) wait_as(State::kBarrier);
}

bool arrive(Request& request) {
  if ((request.mask >> lane() & 1) == 0) fail("the calling lane is not in the mask", request.site);
  fibers[running].request = &request;
  bool complete = true;
  for (int other = running & ~31, bit = 0; bit < 32; ++bit, ++other) {
    if ((request.mask >> bit & 1) == 0 || other == running) continue;
    if (other >= threads || fibers[other].state == State::kEnded) {
      fail("a lane of the mask has ended", request.site);
    }
    if (fibers[other].state != State::kWarp) {
      complete = false;
      continue;
    }
    const Request& theirs = *fibers[other].request;
    if (theirs.mask != request.mask || !same_place(theirs.site, request.site) ||
        std::strcmp(theirs.operation, request.operation) != 0) {
      print_waiting();
      fail("divergence: lanes of the mask are in different operations", request.site);
    }
  }
  if (!complete) wait_as(State::kWarp);
  return complete;
}

const Request& request_of(int lane) { return *fibers[(running & ~31) + lane].request; }

void release(unsigned mask) {
  for (int i = 0; i < 32; ++i) {
    if (mask >> i & 1) make_ready((running & ~31) + i);
  }
}

void begin_copy(const Copy& copy) { fibers[running].copies.push_back(copy); }

void commit_copies() { fibers[running].groups.push_back(fibers[running].copies.size()); }

bool end_copy(int pending, Copy& copy) {
  auto& copies = fibers[running].copies;
  auto& groups = fibers[running].groups;
  const auto due = std::ssize(groups) - 1 - pending;
  if (due < 0 || groups[static_cast<size_t>(due)] == 0) return false;
  copy = copies.front();
  copies.pop_front();
  for (size_t& count : groups) count -= count > 0;
  return true;
}

}  // namespace simt
