// The index arithmetic of the convolution kernels against plain arithmetic, exhaustively where the
// range allows it.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "conv_plan.h"

namespace striate::cuda {
namespace {

TEST_CASE("division by a known number") {
  constexpr int32_t kLast = 2147483647;
  std::vector<int32_t> divisors, dividends;
  for (int32_t d = 1; d <= 300; ++d) divisors.push_back(d);
  for (int bit = 8; bit < 31; ++bit) {
    for (int32_t near = -1; near <= 1; ++near) divisors.push_back((1 << bit) + near);
  }
  divisors.insert(divisors.end(), {641, 7 * 7 * 512, 224 * 224, 1000003, kLast - 1, kLast});
  for (int32_t n = 0; n < 3000; ++n) dividends.insert(dividends.end(), {n, kLast - n});
  for (const int32_t d : divisors) {
    const FastDivisor divisor(d);
    const auto check = [&](int32_t n) {
      int32_t rest = n;
      const int32_t remainder = split_off(rest, divisor);
      REQUIRE(n / divisor == n / d);
      REQUIRE(n % divisor == n % d);
      REQUIRE(rest == n / d);
      REQUIRE(remainder == n % d);
    };
    for (const int32_t n : dividends) check(n);
    // Around multiples a wrong rounding shows first.
    for (int64_t k = 1; k * d <= kLast; k += std::max<int64_t>(1, kLast / d / 500)) {
      check(static_cast<int32_t>(k * d - 1));
      check(static_cast<int32_t>(k * d));
    }
  }
}

/// Every (result, kernel, source) triple of an axis that the phases reach.
template <class Int>
std::multiset<std::vector<int64_t>> reached(const GatherAxis<Int>& axis) {
  std::multiset<std::vector<int64_t>> triples;
  for (Int phase = 0; phase < axis.phases; ++phase) {
    const PhaseTaps<Int> taps = phase_taps(axis, phase);
    for (Int i = 0; phase + i * axis.phases < axis.result; ++i) {
      for (Int t = 0; t < taps.count; ++t) {
        const Int source = i * axis.source_step + taps.offset + t * axis.offset_step;
        if (source < 0 || source >= axis.source) continue;
        triples.insert({phase + i * axis.phases, taps.kernel + t * axis.kernel_step, source});
      }
    }
  }
  return triples;
}

TEST_CASE("phases and taps reach what a convolution multiplies, and nothing else") {
  for (int64_t size = 1; size <= 9; ++size) {
    for (int64_t kernel = 1; kernel <= 5; ++kernel) {
      for (int64_t stride = 1; stride <= 4; ++stride) {
        for (int64_t pad = 0; pad <= 4; ++pad) {
          for (int64_t dilation = 1; dilation <= 4; ++dilation) {
            const int64_t spare = size + 2 * pad - dilation * (kernel - 1) - 1;
            if (spare < 0) continue;
            const int64_t out = spare / stride + 1;
            std::multiset<std::vector<int64_t>> forward, backward;
            for (int64_t y = 0; y < out; ++y) {
              for (int64_t k = 0; k < kernel; ++k) {
                const int64_t x = y * stride - pad + k * dilation;
                if (x < 0 || x >= size) continue;
                forward.insert({y, k, x});
                backward.insert({x, k, y});
              }
            }
            REQUIRE(reached(forward_axis(out, size, kernel, stride, pad, dilation)) == forward);
            REQUIRE(reached(input_grad_axis(size, out, kernel, stride, pad, dilation)) == backward);
            REQUIRE(reached(input_grad_axis<int32_t>(
                        static_cast<int32_t>(size), static_cast<int32_t>(out),
                        static_cast<int32_t>(kernel), static_cast<int32_t>(stride),
                        static_cast<int32_t>(pad), static_cast<int32_t>(dilation))) == backward);
          }
        }
      }
    }
  }
}

TEST_CASE("a cursor that advances is where it would have been put") {
  for (int32_t columns = 1; columns <= 7; ++columns) {
    for (int32_t vectors = 1; vectors <= 20; ++vectors) {
      const FastDivisor by_vectors(vectors);
      for (const int32_t step : {8, 16}) {
        for (int32_t first = 0; first < 24; ++first) {
          TapCursor cursor = cursor_at(first, columns, by_vectors);
          for (int32_t position = first; position < 400; position += step) {
            REQUIRE(cursor.vector == position % vectors);
            REQUIRE(cursor.column == position / vectors % columns);
            REQUIRE(cursor.row == position / vectors / columns);
            advance(cursor, step, columns, by_vectors);
          }
        }
      }
    }
  }
}

TEST_CASE("pixels") {
  for (const int32_t rows : {1, 3, 7}) {
    for (const int32_t columns : {1, 4, 5}) {
      for (int32_t m = 0; m < 200; ++m) {
        const Pixel pixel = pixel_at(m, FastDivisor(rows), FastDivisor(columns));
        REQUIRE((pixel.image * rows + pixel.row) * columns + pixel.column == m);
        REQUIRE(pixel.row < rows);
        REQUIRE(pixel.column < columns);
      }
    }
  }
}

/// Whether accesses of `bytes` at these addresses, made at once, touch each bank at most once.
bool without_conflict(const std::vector<int>& addresses, int bytes) {
  std::set<int> banks;
  for (const int address : addresses) {
    for (int word = 0; word < bytes / 4; ++word) {
      if (!banks.insert((address / 4 + word) % 32).second) return false;
    }
  }
  return true;
}

TEST_CASE("slices by rows: each chunk has a place, and reads have no bank conflict") {
  std::set<int> places;
  for (int row = 0; row < 128; ++row) {
    for (int chunk = 0; chunk < 8; ++chunk) places.insert(row_chunk(row, chunk));
  }
  CHECK(places.size() == 128 * 8);
  CHECK(*places.rbegin() == 128 * 128 - 16);
  for (int first = 0; first < 128; first += 8) {
    for (int chunk = 0; chunk < 8; ++chunk) {
      std::vector<int> rows, chunks;
      for (int i = 0; i < 8; ++i) {
        rows.push_back(row_chunk(first + i, chunk));  // a matrix; eight threads of a CUDA core tile
        chunks.push_back(row_chunk(first + chunk, i));  // copies
      }
      CHECK(without_conflict(rows, 16));
      CHECK(without_conflict(chunks, 16));
    }
  }
}

TEST_CASE("slices by pixels: each chunk has a place, and reads have no bank conflict") {
  for (const int item : {2, 4}) {
    for (const int rows : {64, 128}) {
      const int pixels = kSliceBytes / item, chunks = rows * item / 16;
      std::set<int> places;
      for (int pixel = 0; pixel < pixels; ++pixel) {
        for (int chunk = 0; chunk < chunks; ++chunk) {
          places.insert(pixel_chunk(pixel, chunk, rows, item));
        }
      }
      CHECK(static_cast<int>(places.size()) == pixels * chunks);
      CHECK(*places.rbegin() + 16 <= pixel_slice(rows, item));
      for (int pixel = 0; pixel < pixels; pixel += item == 2 ? 8 : 4) {
        for (int chunk = 0; chunk + 1 < chunks; chunk += item == 2 ? 1 : 2) {
          std::vector<int> addresses;
          if (item == 2) {  // a matrix
            for (int i = 0; i < 8; ++i) {
              addresses.push_back(pixel_chunk(pixel + i, chunk, rows, item));
            }
            CHECK(without_conflict(addresses, 16));
          } else {  // one register of a TF32 fragment
            for (int lane = 0; lane < 32; ++lane) {
              addresses.push_back(pixel_chunk(pixel + lane % 4, chunk + lane / 16, rows, item) +
                                  lane / 4 % 4 * 4);
            }
            CHECK(without_conflict(addresses, 4));
          }
        }
      }
    }
  }
}

TEST_CASE("lanes address the matrices of a fragment") {
  for (int lane = 0; lane < 32; ++lane) {
    const int matrix = lane / 8, row = lane % 8;
    // A: register i holds rows 8 * (i % 2), reduction half i / 2.
    CHECK(a_lane(lane).row == row + 8 * (matrix % 2));
    CHECK(a_lane(lane).chunk == matrix / 2);
    CHECK(a_lane_transposed(lane).row == row + 8 * (matrix / 2));
    CHECK(a_lane_transposed(lane).chunk == matrix % 2);
    // B: registers 0 and 1 of the first eight columns, then of the next.
    CHECK(b_lane(lane).row == row + 8 * (matrix / 2));
    CHECK(b_lane(lane).chunk == matrix % 2);
    CHECK(b_lane_transposed(lane).row == row + 8 * (matrix % 2));
    CHECK(b_lane_transposed(lane).chunk == matrix / 2);
  }
}

TEST_CASE("blocks cover every tile, split, group and phase once") {
  const Conv2dGeometry g{.n = 2,
                         .c = 6,
                         .h = 15,
                         .w = 17,
                         .o = 260,
                         .kh = 3,
                         .kw = 3,
                         .oh = 8,
                         .ow = 9,
                         .stride_h = 2,
                         .stride_w = 2,
                         .pad_h = 1,
                         .pad_w = 1,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .groups = 2};
  const ConvAlgorithm algorithm{ConvKernel::kTensorCores, 2, 3};
  for (const ConvPass pass : {ConvPass::kForward, ConvPass::kInputGrad}) {
    const GatherShape shape = gather_shape(g, DType::kBFloat16, pass, algorithm);
    std::set<std::vector<int32_t>> blocks;
    for (int32_t i = 0; i < gather_blocks(shape); ++i) {
      const GatherBlock b = gather_block(shape, i);
      CHECK(b.tile_m * 64 < shape.pixels());
      CHECK(b.tile_n * 64 < shape.filters);
      CHECK(b.split < 3);
      CHECK(b.group < 2);
      CHECK(b.row_phase < shape.rows.phases);
      blocks.insert({b.tile_m, b.tile_n, b.split, b.group, b.row_phase, b.column_phase});
    }
    CHECK(static_cast<int64_t>(blocks.size()) == gather_blocks(shape));
  }
}

TEST_CASE("what does not fit 32 bits goes to the direct kernels") {
  Conv2dGeometry g{.n = 1 << 20,
                   .c = 64,
                   .h = 56,
                   .w = 56,
                   .o = 64,
                   .kh = 1,
                   .kw = 1,
                   .oh = 56,
                   .ow = 56,
                   .stride_h = 1,
                   .stride_w = 1,
                   .pad_h = 0,
                   .pad_w = 0,
                   .dilation_h = 1,
                   .dilation_w = 1,
                   .groups = 1};
  CHECK(choose_algorithm(g, DType::kFloat32, ConvPass::kForward).kernel == ConvKernel::kDirect);
  g.n = 64;
  CHECK(choose_algorithm(g, DType::kFloat32, ConvPass::kForward).kernel == ConvKernel::kCudaCores);
  CHECK(choose_algorithm(g, DType::kBFloat16, ConvPass::kForward).kernel ==
        ConvKernel::kTensorCores);
  CHECK(choose_algorithm(g, DType::kFloat64, ConvPass::kForward).kernel == ConvKernel::kDirect);
}

}  // namespace
}  // namespace striate::cuda
