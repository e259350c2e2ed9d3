#include "cpu/allocator.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>

#include "cpu/limits.h"

namespace striate::cpu {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kReadablePast = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr int kSubdivisions = 8;  // classes per power of two: at most 1/8 of a block is unused
constexpr size_t kSmallest = kAlignment * kSubdivisions;  // multiples of 64 up to here
constexpr int kClasses = kSubdivisions * 56;

struct SizeClass {
  int index;
  size_t bytes;
};

SizeClass size_class(size_t bytes) {
  const size_t needed = std::max(bytes + kReadablePast, kAlignment);
  // Classes lie in (base, 2 * base] at multiples of base / 8.
  const size_t base = needed <= kSmallest ? 0 : std::bit_floor(needed - 1);
  const size_t step = needed <= kSmallest ? kAlignment : base / kSubdivisions;
  const size_t position = (needed - base + step - 1) / step;
  const int octave = base == 0 ? 0 : std::countr_zero(base / kSmallest) + 1;
  return {octave * kSubdivisions + static_cast<int>(position) - 1, base + position * step};
}

/// Large blocks start on a huge page, which saves most of the TLB misses of streaming kernels.
void* map_huge(size_t bytes) {
  void* region = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return nullptr;
  const auto address = reinterpret_cast<uintptr_t>(region);
  const uintptr_t start = (address + kHugePage - 1) / kHugePage * kHugePage;
  if (start > address) munmap(region, start - address);
  munmap(reinterpret_cast<void*>(start + bytes), address + kHugePage - start);
  void* block = reinterpret_cast<void*>(start);
  madvise(block, bytes, MADV_HUGEPAGE);  // advice: a kernel without huge pages may refuse
  return block;
}

class Allocator {
 public:
  void* allocate(size_t bytes) {
    if (bytes > static_cast<size_t>(limit_)) return nullptr;
    const SizeClass size = size_class(bytes);
    std::lock_guard lock(mutex_);
    void* block = free_[size.index];
    if (block != nullptr) {
      free_[size.index] = free_[size.index]->next;
    } else {
      block = reserve(size.bytes);
      if (block == nullptr) return nullptr;
    }
    stats_.allocated_bytes += static_cast<int64_t>(size.bytes);
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.allocated_bytes);
    return block;
  }

  void deallocate(void* data, size_t bytes) {
    const SizeClass size = size_class(bytes);
    std::lock_guard lock(mutex_);
    free_[size.index] = new (data) FreeBlock{free_[size.index], size.bytes};
    stats_.allocated_bytes -= static_cast<int64_t>(size.bytes);
  }

  void empty_cache() {
    std::lock_guard lock(mutex_);
    release_free_blocks();
  }

  MemoryStats stats() {
    std::lock_guard lock(mutex_);
    return stats_;
  }

  std::mutex& mutex() { return mutex_; }

 private:
  struct FreeBlock {
    FreeBlock* next;
    size_t bytes;
  };

  /// A block from the system. The kernel would promise more memory than there is and kill the
  /// process at first touch, so the limit is ours to keep.
  void* reserve(size_t bytes) {
    if (exceeds_limit(bytes)) release_free_blocks();
    if (exceeds_limit(bytes)) return nullptr;
    void* block = from_system(bytes);
    if (block == nullptr) {
      release_free_blocks();
      block = from_system(bytes);
    }
    if (block != nullptr) stats_.reserved_bytes += static_cast<int64_t>(bytes);
    return block;
  }

  bool exceeds_limit(size_t bytes) const {
    return static_cast<int64_t>(bytes) > limit_ - stats_.reserved_bytes;
  }

  static void* from_system(size_t bytes) {
    return bytes >= kHugePage ? map_huge(bytes) : std::aligned_alloc(kAlignment, bytes);
  }

  void release_free_blocks() {
    for (FreeBlock*& list : free_) {
      while (list != nullptr) {
        FreeBlock* block = list;
        list = block->next;
        const size_t bytes = block->bytes;
        stats_.reserved_bytes -= static_cast<int64_t>(bytes);
        if (bytes >= kHugePage) {
          munmap(block, bytes);
        } else {
          std::free(block);
        }
      }
    }
  }

  const int64_t limit_ = available_memory();
  std::mutex mutex_;
  FreeBlock* free_[kClasses] = {};
  MemoryStats stats_;
};

/// Never destroyed: tensors with static lifetime are freed after main.
Allocator& allocator() {
  static Allocator* instance = [] {
    // A fork while another thread holds the lock would leave the child with it locked for ever.
    pthread_atfork([] { allocator().mutex().lock(); }, [] { allocator().mutex().unlock(); },
                   [] { allocator().mutex().unlock(); });
    return new Allocator;
  }();
  return *instance;
}

}  // namespace

void* allocate(size_t bytes, Device) { return allocator().allocate(bytes); }

void deallocate(void* data, size_t bytes, Device) { allocator().deallocate(data, bytes); }

void empty_cache(Device) { allocator().empty_cache(); }

MemoryStats memory_stats(Device) { return allocator().stats(); }

}  // namespace striate::cpu
