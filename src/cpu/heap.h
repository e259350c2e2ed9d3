// Where large blocks come from: a stretch of addresses that grows at its end. What is freed joins
// its free neighbours, and a new block is cut from the free range that fits it best, so that a
// network's tensors, all of different sizes, share the same pages.
#pragma once

#include <cstddef>
#include <vector>

namespace striate::cpu {

class Heap {
 public:
  static constexpr size_t kPage = 4096;

  /// Grows to at most `room` bytes before it looks for another place.
  explicit Heap(size_t room) : room_(room) {}

  /// `bytes`, a multiple of kPage; null where no free range is large enough.
  void* allocate(size_t bytes);
  void deallocate(void* data, size_t bytes);
  /// What to map before a block of this size is sure to fit.
  size_t missing(size_t bytes) const;
  /// Maps a multiple of kPage more, or returns false. After release() it may succeed once more.
  bool grow(size_t bytes);
  /// Returns all free ranges to the system, and how many bytes they were.
  size_t release();

 private:
  struct Range {
    char* data;
    size_t bytes;
    char* end() const { return data + bytes; }
  };
  size_t free_at_end() const {
    return !free_.empty() && free_.back().end() == end_ ? free_.back().bytes : 0;
  }
  char* find_hole() const;

  const size_t room_;
  std::vector<Range> free_;  // by address; never two that touch
  size_t blocks_ = 0;        // in use
  char* end_ = find_hole();  // of the stretch that grows
};

}  // namespace striate::cpu
