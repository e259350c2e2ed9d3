// Finds data races and reads of shared memory that nothing has written. Each byte remembers its
// last write and two reads since, by thread and time. Time is the number of barriers that the block
// has passed and, within a warp, a vector clock that __syncwarp advances; shuffles and atomics
// order nothing. Threads of different blocks are never ordered. Kernels are compiled with
// -fsanitize=thread, but linked to the hooks at the end of this file.
#include "race.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>

#include "simt.h"

extern "C" const char __bss_start, _end, __executable_start;

namespace simt {
namespace race {
namespace {

struct Range {
  uintptr_t begin = 0, end = 0;
  bool contains(uintptr_t a) const { return a >= begin && a < end; }
};
Range range(const void* begin, size_t bytes) {
  const auto address = reinterpret_cast<uintptr_t>(begin);
  return {address, address + bytes};
}

struct [[gnu::packed, gnu::aligned(4)]] Access {
  uint64_t block : 26, thread : 10, barriers : 14, clock : 13;
  bool atomic : 1;
  uint32_t code;  // the caller's address, from the executable's start
};
struct Byte {
  Access write, reads[2];
};
using Page = std::array<Byte, 512>;

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
Range ignored[2], dynamic_range;
int ignored_count = 0;
uint64_t block = 0, first_block_of_grid = 0, barriers = 0;
int thread = -1;
bool instrumented = false;  // or else only atomics would be seen
uint32_t clocks[1024][32];  // what each thread knows of its warp's lanes

bool is_shared(uintptr_t address) {
  return dynamic_range.contains(address) || (address >= reinterpret_cast<uintptr_t>(&__bss_start) &&
                                             address < reinterpret_cast<uintptr_t>(&_end));
}

/// Whether the access happened at all: not before this grid or, in shared memory, before this
/// block.
bool is_present(const Access& a, bool shared) {
  return a.block >= (shared ? block : first_block_of_grid);
}

bool happened_before(const Access& a) {
  if (a.block != block) return false;
  return a.thread == thread || a.barriers < barriers ||
         (a.thread / 32 == thread / 32 && a.clock <= clocks[thread][a.thread % 32]);
}

// --- Reports ------------------------------------------------------------------------------------

void print_place(const char* what, const Access& a) {
  char executable[4096] = {};
  if (realpath("/proc/self/exe", executable) == nullptr) std::abort();
  char command[4200];
  std::snprintf(command, sizeof command, "addr2line -e '%s' -ip %#x", executable, a.code - 1);
  std::fprintf(stderr, "simt:   %s by thread %d of block %d of the grid at\n", what,
               static_cast<int>(a.thread), static_cast<int>(a.block - first_block_of_grid));
  FILE* const output = popen(command, "r");
  for (char line[512]; output != nullptr && std::fgets(line, sizeof line, output) != nullptr;) {
    std::fprintf(stderr, "simt:     %s", line);
  }
  if (output != nullptr) pclose(output);
}

[[noreturn]] void report(const Access& now, bool write, const Access* before, bool before_write) {
  print_place(write ? "a write" : "a read", now);
  if (before == nullptr) {
    fail("uninitialised: a read of shared memory that this block has not written");
  }
  print_place(before_write ? "after a write" : "after a read", *before);
  fail("race: nothing orders two accesses to one address");
}

// --- Accesses -----------------------------------------------------------------------------------

Byte& byte_at(uintptr_t address) {
  static uintptr_t last_key = 0;
  static Page* last_page = nullptr;
  const uintptr_t key = address / std::tuple_size_v<Page>;
  if (last_page == nullptr || key != last_key) {
    auto& page = pages[key];
    if (page == nullptr) page = std::make_unique<Page>();
    last_key = key, last_page = page.get();
  }
  return (*last_page)[address % std::tuple_size_v<Page>];
}

void access(const void* pointer, size_t bytes, bool write, bool atomic, const void* caller) {
  if (thread < 0) return;
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (ignored[0].contains(address) || ignored[1].contains(address)) return;
  const bool shared = is_shared(address);
  const auto code =
      reinterpret_cast<uintptr_t>(caller) - reinterpret_cast<uintptr_t>(&__executable_start);
  const Access now = {block,  static_cast<uint64_t>(thread), barriers, clocks[thread][thread % 32],
                      atomic, static_cast<uint32_t>(code)};
  for (uintptr_t a = address; a < address + bytes; ++a) {
    Byte& byte = byte_at(a);
    const bool written = is_present(byte.write, shared);
    if ((!write || atomic) && shared && !written) {
      report(now, write, nullptr, false);
    }
    if (written && !happened_before(byte.write) && !(atomic && byte.write.atomic)) {
      report(now, write, &byte.write, true);
    }
    if (!write) {
      // Two readers of different threads are enough: one of them is not the next writer.
      const bool keep_first =
          is_present(byte.reads[0], shared) && byte.reads[0].thread != now.thread;
      byte.reads[keep_first] = now;
      continue;
    }
    for (Access& read : byte.reads) {
      if (is_present(read, shared) && !happened_before(read)) {
        report(now, write, &read, false);
      }
      read = {};
    }
    byte.write = now;
  }
}

}  // namespace

void ignore(const void* begin, size_t bytes) { ignored[ignored_count++] = range(begin, bytes); }

void begin_grid(const void* dynamic_shared, size_t shared_bytes) {
  dynamic_range = range(dynamic_shared, shared_bytes);
  first_block_of_grid = block + 1;
}

void begin_block() {
  ++block;
  barriers = 0;
  for (int t = 0; t < 1024; ++t) {
    for (int lane = 0; lane < 32; ++lane) clocks[t][lane] = lane == t % 32;
  }
}

void barrier() {
  if (++barriers == 1 << 14) fail("too many barriers for the race detector");
}

void run(int next) { thread = next; }

}  // namespace race

void note_syncwarp(unsigned mask) {
  using race::clocks;
  const int warp = race::thread & ~31;
  std::array<uint32_t, 32> joined = {};
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    for (int lane = 0; lane < 32; ++lane) {
      joined[lane] = std::max(joined[lane], clocks[warp + std::countr_zero(rest)][lane]);
    }
  }
  for (unsigned rest = mask; rest != 0; rest &= rest - 1) {
    const int lane = std::countr_zero(rest);
    std::copy(joined.begin(), joined.end(), clocks[warp + lane]);
    if (++clocks[warp + lane][lane] == 1 << 13) fail("too many __syncwarp for the race detector");
  }
}

void note_atomic(const void* address, size_t bytes, const void* caller) {
  if (race::instrumented) race::access(address, bytes, true, true, caller);
}

}  // namespace simt

// --- ThreadSanitizer's hooks --------------------------------------------------------------------

#define SIMT_ACCESS(p, bytes, write) \
  simt::race::access(p, bytes, write, false, __builtin_return_address(0))
#define SIMT_HOOKS(bytes)                                                            \
  void __tsan_read##bytes(const void* p) { SIMT_ACCESS(p, bytes, false); }           \
  void __tsan_write##bytes(const void* p) { SIMT_ACCESS(p, bytes, true); }           \
  void __tsan_unaligned_read##bytes(const void* p) { SIMT_ACCESS(p, bytes, false); } \
  void __tsan_unaligned_write##bytes(const void* p) { SIMT_ACCESS(p, bytes, true); }
extern "C" {
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)
void __tsan_read_range(const void* p, size_t bytes) { SIMT_ACCESS(p, bytes, false); }
void __tsan_write_range(const void* p, size_t bytes) { SIMT_ACCESS(p, bytes, true); }
void __tsan_init() { simt::race::instrumented = true; }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_atomic64_store(volatile long long* p, long long value, int) { *p = value; }
long long __tsan_atomic64_load(const volatile long long* p, int) { return *p; }
}
