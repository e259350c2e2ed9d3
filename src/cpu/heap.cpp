#include "cpu/heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>

namespace striate::cpu {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;

char* map(char* hint, size_t bytes, int protection) {
  void* data = mmap(hint, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return data == MAP_FAILED ? nullptr : static_cast<char*>(data);
}

}  // namespace

/// The system places what others map from the top of the addresses downwards: the bottom of a large
/// hole is the last that they reach.
char* Heap::find_hole() const {
  for (size_t bytes = room_; bytes > kHugePage; bytes /= 2) {
    char* hole = map(nullptr, bytes, PROT_NONE);
    if (hole == nullptr) continue;  // a limit on addresses
    munmap(hole, bytes);
    return hole + -reinterpret_cast<uintptr_t>(hole) % kHugePage;
  }
  return nullptr;
}

void* Heap::allocate(size_t bytes) {
  // The range at the end, which can grow for a larger block, counts as the largest.
  const auto last = free_.end() - (free_at_end() > 0 ? 1 : 0);
  auto best = last;
  for (auto range = free_.begin(); range != last; ++range) {
    if (range->bytes >= bytes && (best == last || range->bytes < best->bytes)) best = range;
  }
  if (best == free_.end() || best->bytes < bytes) return nullptr;
  ++blocks_;
  char* data = best->data;
  if (best->bytes == bytes) {
    free_.erase(best);
  } else {
    *best = {data + bytes, best->bytes - bytes};
  }
  // Room for what deallocate() adds, which must not throw: a range for each block at most.
  if (free_.capacity() < free_.size() + blocks_) free_.reserve(2 * (free_.size() + blocks_));
  return data;
}

void Heap::deallocate(void* data, size_t bytes) {
  Range range{static_cast<char*>(data), bytes};
  --blocks_;
  auto next =
      std::lower_bound(free_.begin(), free_.end(), range.data,
                       [](const Range& r, const char* address) { return r.data < address; });
  if (next != free_.end() && next->data == range.end()) {
    range.bytes += next->bytes;
    next = free_.erase(next);
  }
  if (next != free_.begin() && next[-1].end() == range.data) {
    next[-1].bytes += range.bytes;
  } else {
    free_.insert(next, range);
  }
}

size_t Heap::missing(size_t bytes) const {
  const size_t needed = bytes - std::min(bytes, free_at_end());
  return (needed + kHugePage - 1) / kHugePage * kHugePage;
}

bool Heap::grow(size_t bytes) {
  char* data = map(end_, bytes, PROT_READ | PROT_WRITE);
  if (data == nullptr) return false;
  if (data != end_) {
    munmap(data, bytes);
    end_ = find_hole();
    return false;
  }
  // Huge pages save most of the TLB misses of streaming kernels. A kernel without them refuses.
  madvise(data, bytes, MADV_HUGEPAGE);
  end_ += bytes;
  free_.reserve(free_.size() + blocks_ + 1);
  ++blocks_;
  deallocate(data, bytes);
  return true;
}

size_t Heap::release() {
  end_ -= free_at_end() / kHugePage * kHugePage;
  size_t released = 0;
  for (const Range& range : free_) {
    munmap(range.data, range.bytes);
    released += range.bytes;
  }
  free_.clear();
  return released;
}

}  // namespace striate::cpu
