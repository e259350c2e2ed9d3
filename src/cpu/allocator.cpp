#include "cpu/allocator.h"

#include <pthread.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

#include "cpu/heap.h"
#include "cpu/limits.h"

namespace striate::cpu {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kReadablePast = 64;
constexpr size_t kLarge = size_t{1} << 20;  // blocks beyond it are the heap's
constexpr int kSubdivisions = 8;  // classes per power of two: at most 1/8 of a block is unused
constexpr size_t kSmallest = kAlignment * kSubdivisions;  // multiples of 64 up to here
constexpr int kClasses = kSubdivisions * std::bit_width(kLarge / kSmallest);

struct BlockSize {
  size_t bytes;
  int size_class;  // of a block that is not large
  bool large() const { return bytes > kLarge; }
};

BlockSize block_size(size_t bytes) {
  const size_t needed = std::max(bytes + kReadablePast, kAlignment);
  if (needed > kLarge) return {(needed + Heap::kPage - 1) / Heap::kPage * Heap::kPage, 0};
  // Classes lie in (base, 2 * base] at multiples of base / 8.
  const size_t base = needed <= kSmallest ? 0 : std::bit_floor(needed - 1);
  const size_t step = needed <= kSmallest ? kAlignment : base / kSubdivisions;
  const size_t position = (needed - base + step - 1) / step;
  const int octave = base == 0 ? 0 : std::countr_zero(base / kSmallest) + 1;
  return {base + position * step, octave * kSubdivisions + static_cast<int>(position) - 1};
}

class Allocator {
 public:
  void* allocate(size_t bytes) {
    if (bytes > static_cast<size_t>(limit_)) return nullptr;
    const BlockSize size = block_size(bytes);
    std::lock_guard lock(mutex_);
    void* block = cached(size);
    if (block == nullptr) block = reserve(size);
    if (block == nullptr) {
      release_free_blocks();
      block = reserve(size);
    }
    if (block == nullptr) return nullptr;
    stats_.allocated_bytes += static_cast<int64_t>(size.bytes);
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.allocated_bytes);
    return block;
  }

  void deallocate(void* data, size_t bytes) {
    const BlockSize size = block_size(bytes);
    std::lock_guard lock(mutex_);
    if (size.large()) {
      heap_.deallocate(data, size.bytes);
    } else {
      free_[size.size_class] = new (data) FreeBlock{free_[size.size_class], size.bytes};
    }
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

  void* cached(const BlockSize& size) {
    if (size.large()) return heap_.allocate(size.bytes);
    FreeBlock* block = free_[size.size_class];
    if (block != nullptr) free_[size.size_class] = block->next;
    return block;
  }

  /// A block with memory from the system. The kernel would promise more than there is and kill the
  /// process at first touch, so the limit is ours to keep.
  void* reserve(const BlockSize& size) {
    const auto fresh = static_cast<int64_t>(size.large() ? heap_.missing(size.bytes) : size.bytes);
    if (fresh > limit_ - stats_.reserved_bytes) return nullptr;
    void* block = nullptr;
    if (!size.large()) {
      block = std::aligned_alloc(kAlignment, size.bytes);
    } else if (heap_.grow(fresh)) {
      block = heap_.allocate(size.bytes);
    }
    if (block != nullptr) stats_.reserved_bytes += fresh;
    return block;
  }

  void release_free_blocks() {
    stats_.reserved_bytes -= static_cast<int64_t>(heap_.release());
    for (FreeBlock*& list : free_) {
      while (list != nullptr) {
        FreeBlock* block = list;
        list = block->next;
        stats_.reserved_bytes -= static_cast<int64_t>(block->bytes);
        std::free(block);
      }
    }
  }

  const int64_t limit_ = available_memory();
  std::mutex mutex_;
  Heap heap_{static_cast<size_t>(limit_)};
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
