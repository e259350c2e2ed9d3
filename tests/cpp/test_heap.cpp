// The heap of large blocks: which range a block comes from, and what comes back together.
#include <doctest/doctest.h>

#include <cstring>
#include <random>
#include <vector>

#include "cpu/heap.h"

using striate::cpu::Heap;

namespace {

constexpr size_t kPage = Heap::kPage, kHugePage = size_t{2} << 20;

char* block(Heap& heap, size_t pages) { return static_cast<char*>(heap.allocate(pages * kPage)); }

}  // namespace

TEST_CASE("a block is cut from the range that fits best, the end last") {
  Heap heap(size_t{1} << 30);
  CHECK(heap.allocate(kPage) == nullptr);
  REQUIRE(heap.grow(kHugePage));  // 512 pages
  char* a = block(heap, 10);
  char* b = block(heap, 1);
  char* c = block(heap, 5);
  char* d = block(heap, 1);
  CHECK(b == a + 10 * kPage);
  heap.deallocate(a, 10 * kPage);
  heap.deallocate(c, 5 * kPage);
  CHECK(block(heap, 4) == c);
  CHECK(block(heap, 6) == a);
  CHECK(block(heap, 4) == a + 6 * kPage);
  CHECK(block(heap, 2) == d + kPage);
}

TEST_CASE("freed neighbours become one range, in any order") {
  for (const std::vector<int>& order : {std::vector{0, 1, 2}, {2, 1, 0}, {0, 2, 1}, {1, 2, 0}}) {
    Heap heap(size_t{1} << 30);
    REQUIRE(heap.grow(kHugePage));
    char* blocks[] = {block(heap, 3), block(heap, 3), block(heap, 3)};
    block(heap, 503);  // all of the rest
    for (int i : order) heap.deallocate(blocks[i], 3 * kPage);
    CHECK(block(heap, 9) == blocks[0]);
  }
}

TEST_CASE("the heap grows by what is missing at its end") {
  Heap heap(size_t{1} << 30);
  CHECK(heap.missing(5 * kPage) == kHugePage);
  REQUIRE(heap.grow(heap.missing(5 * kPage)));
  char* first = block(heap, 5);
  CHECK(heap.missing(kHugePage) == kHugePage);
  CHECK(heap.missing(507 * kPage) == 0);
  REQUIRE(heap.grow(heap.missing(600 * kPage)));
  char* second = block(heap, 600);
  REQUIRE(second == first + 5 * kPage);
  std::memset(second, 1, 600 * kPage);
}

TEST_CASE("what is free is returned, and the place of others stays") {
  Heap heap(size_t{1} << 30);
  REQUIRE(heap.grow(2 * kHugePage));
  char* a = block(heap, 100);
  char* b = block(heap, 100);
  std::memset(b, 7, 100 * kPage);
  heap.deallocate(a, 100 * kPage);
  CHECK(heap.release() == 2 * kHugePage - 100 * kPage);
  CHECK(heap.release() == 0);
  CHECK(b[0] == 7);
  CHECK(heap.allocate(kPage) == nullptr);
  REQUIRE(heap.grow(heap.missing(kHugePage)));
  char* c = static_cast<char*>(heap.allocate(kHugePage));
  REQUIRE(c != nullptr);
  CHECK(c[0] == 0);
}

TEST_CASE("blocks never overlap, and all of the heap comes back") {
  Heap heap(size_t{1} << 30);
  struct Block {
    char* data;
    size_t bytes;
    char mark;
  };
  std::vector<Block> blocks;
  std::mt19937 random(1);
  size_t mapped = 0;
  for (int step = 0; step < 4000; ++step) {
    if (blocks.size() > 30 || (random() % 3 == 0 && !blocks.empty())) {
      const size_t i = random() % blocks.size();
      const Block b = blocks[i];
      CHECK(b.data[0] == b.mark);
      CHECK(b.data[b.bytes - 1] == b.mark);
      heap.deallocate(b.data, b.bytes);
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      Block b{nullptr, (1 + random() % 700) * kPage, static_cast<char>(step)};
      b.data = static_cast<char*>(heap.allocate(b.bytes));
      if (b.data == nullptr) {
        const size_t missing = heap.missing(b.bytes);
        REQUIRE(heap.grow(missing));
        mapped += missing;
        b.data = static_cast<char*>(heap.allocate(b.bytes));
      }
      REQUIRE(b.data != nullptr);
      b.data[0] = b.data[b.bytes - 1] = b.mark;
      blocks.push_back(b);
    }
  }
  for (const Block& b : blocks) heap.deallocate(b.data, b.bytes);
  CHECK(heap.release() == mapped);
  CHECK(mapped < size_t{31} * 700 * kPage);
}
