// The tile over GCC/Clang vector extensions, templated on the vector, compiled once per
// instruction set. The accumulators acc[rows][vectors] stay in registers only if both loops over
// them are fully unrolled, hence the pragmas. Rows never share arithmetic, so a result does not
// depend on which rows it is computed with.
#include "cpu/isa/gemm.h"

#include "cpu/isa/vector.h"

namespace striate::cpu {
namespace {

template <class T, int kBytes>
struct Vec {
  typedef T Reg __attribute__((vector_size(kBytes)));
  typedef T Mem __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
  static constexpr int kLanes = kBytes / sizeof(T);
  static Reg load(const T* p) { return *reinterpret_cast<const Mem*>(p); }
  static void store(T* p, Reg v) { *reinterpret_cast<Mem*>(p) = v; }
  static void stream(T* p, Reg v) { store_past_caches(reinterpret_cast<Reg*>(p), v); }
};

/// What follows the sums of a row whose last columns do not count; `term` is added, null: nothing.
template <class T, int kWidth>
__attribute__((noinline)) void finish_part(T* sums, const T* term, bool relu, int64_t n, T* c) {
  if (term != nullptr)
    for (int64_t i = 0; i < n; ++i) sums[i] += term[i];
  if (relu)
    for (int i = 0; i < kWidth; ++i) sums[i] = sums[i] <= 0 ? 0 : sums[i];
  // Powers of two, so that each copy is one move.
  int64_t i = 0;
#pragma GCC unroll 8
  for (int size = kWidth / 2; size > 0; size /= 2) {
    if (n & size) {
      __builtin_memcpy(c + i, sums + i, size * sizeof(T));
      i += size;
    }
  }
}

/// c[r][0..n) = acc[r], after adding what lies `term` away from it, if anything, and relu, which
/// keeps NaN. Inlined, and a call only where acc was copied, or acc would live in memory all along.
template <class V, class T, int kVectors, int kRows, class Row>
inline __attribute__((always_inline)) void finish(typename V::Reg (&acc)[kRows][kVectors], Row row,
                                                  bool adds, int64_t term, bool relu, bool stream,
                                                  int64_t n) {
  constexpr int kWidth = kVectors * V::kLanes;
  // Rows that follow each other in memory, where what is stored too much is overwritten at once.
  if (kVectors == 1 && n < kWidth && 2 * n >= kWidth && !adds &&
      row(kRows - 1) - row(0) == (kRows - 1) * n) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      if (relu) acc[r][0] = acc[r][0] <= 0 ? typename V::Reg{} : acc[r][0];
      if (r < kRows - 1) V::store(row(r), acc[r][0]);
    }
    T sums[kWidth];
    V::store(sums, acc[kRows - 1][0]);
    return finish_part<T, kWidth>(sums, nullptr, false, n, row(kRows - 1));
  }
  if (n < kWidth) {
    T sums[kRows][kWidth];
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) V::store(sums[r] + v * V::kLanes, acc[r][v]);
    }
    for (int r = 0; r < kRows; ++r)
      finish_part<T, kWidth>(sums[r], adds ? row(r) + term : nullptr, relu, n, row(r));
    return;
  }
  if (adds) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[r][v] += V::load(row(r) + term + v * V::kLanes);
    }
  }
  if (relu) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[r][v] = acc[r][v] <= 0 ? typename V::Reg{} : acc[r][v];
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      T* target = row(r) + v * V::kLanes;
      stream ? V::stream(target, acc[r][v]) : V::store(target, acc[r][v]);
    }
  }
}

/// Asks for the rows that a tile will read or write at its end, which the sums then hide: results
/// and residuals of large layers come from memory, in pieces too short for the processor to guess.
template <class V, class T, int kVectors, int kRows, class Row>
inline void prefetch_rows(Row row) {
  constexpr int kBytes = kVectors * V::kLanes * sizeof(T), kLine = 64;
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int byte = 0; byte < kBytes; byte += kLine)
      __builtin_prefetch(reinterpret_cast<const char*>(row(r)) + byte, 1);
  }
}

template <class V, class T, int kVectors, int kRows>
void tile(const TileArgs<T>& args) {
  if (args.epilogue.residual != 0)
    prefetch_rows<V, T, kVectors, kRows>([&](int r) { return args.c[r] + args.epilogue.residual; });
  typename V::Reg acc[kRows][kVectors];
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const T* bias = args.epilogue.bias;
    const typename V::Reg start = bias ? V::load(bias + v * V::kLanes) : typename V::Reg{};
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) acc[r][v] = start;
  }
  const T* a[kRows];
  const T* b = args.b;
  for (int64_t t = 0; t < args.tap_count; ++t) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) a[r] = args.a[r] + args.taps[t];
    for (int64_t i = 0; i < args.k; ++i, b += kVectors * V::kLanes) {
      typename V::Reg column[kVectors];
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) column[v] = V::load(b + v * V::kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
        for (int v = 0; v < kVectors; ++v) acc[r][v] += a[r][i] * column[v];
      }
    }
  }
  const Epilogue<T>& epilogue = args.epilogue;
  finish<V, T, kVectors, kRows>(
      acc, [&](int r) { return args.c[r]; }, epilogue.residual != 0, epilogue.residual,
      epilogue.relu, epilogue.stream, args.n);
}

template <class V, class T, int kVectors, int kRows>
void outer(const OuterTileArgs<T>& args) {
  prefetch_rows<V, T, kVectors, kRows>([&](int r) { return args.c + r * args.c_stride; });
  typename V::Reg acc[kRows][kVectors] = {};
  const T *a = args.a, *ahead = args.ahead;
  for (int64_t p = 0; p < args.count; ++p, a += args.a_step, ahead += args.ahead_step) {
    const T* b = args.b[p] + args.offset;
    __builtin_prefetch(ahead, 0, 2);  // into the L2 cache: the first is full
    typename V::Reg column[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) column[v] = V::load(b + v * V::kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[r][v] += a[r] * column[v];
    }
  }
  finish<V, T, kVectors, kRows>(
      acc, [&](int r) { return args.c + r * args.c_stride; }, args.accumulate, 0, false, false,
      args.n);
}

template <class T, int kRows>
void pack_a(const T* a, int64_t a_step, int64_t count, T* packed) {
  for (int64_t p = 0; p < count; ++p, a += a_step, packed += kRows)
    __builtin_memcpy(packed, a, kRows * sizeof(T));
}

template <class T, int kWidth>
void pack_b(const T* const* b, int64_t offset, int64_t count, T* packed) {
  for (int64_t p = 0; p < count; ++p, packed += kWidth)
    __builtin_memcpy(packed, b[p] + offset, kWidth * sizeof(T));
}

template <class V, class T, int kVectors, int kMaxRows, int kRows = 1>
constexpr void fill_rows(TileShape<T>& shape) {
  shape.tile[kRows] = tile<V, T, kVectors, kRows>;
  shape.outer[kRows] = outer<V, T, kVectors, kRows>;
  shape.pack_a[kRows] = pack_a<T, kRows>;
  if constexpr (kRows < kMaxRows) fill_rows<V, T, kVectors, kMaxRows, kRows + 1>(shape);
}

template <class T, int kBytes, int kVectors, int kMaxRows>
constexpr TileShape<T> make_shape() {
  static_assert(kMaxRows <= kMaxTileRows);
  constexpr int kWidth = kVectors * kBytes / static_cast<int>(sizeof(T));
  TileShape<T> shape{kWidth, kMaxRows, {}, {}, {}, pack_b<T, kWidth>};
  fill_rows<Vec<T, kBytes>, T, kVectors, kMaxRows>(shape);
  return shape;
}

// Register budgets: 32 registers hold 14x2 (AVX-512), 16 hold 6x2 (AVX2, SSE). The narrow shapes
// serve few channels: on processors that halve 512-bit vectors a 32-byte one costs half.
namespace baseline {
template <class T>
constexpr GemmKernels<T> kKernels{{make_shape<T, 16, 1, 12>(), make_shape<T, 16, 2, 6>()}, 2};
}
namespace avx2 {
template <class T>
constexpr GemmKernels<T> kKernels{{make_shape<T, 32, 1, 12>(), make_shape<T, 32, 2, 6>()}, 2};
}
namespace avx512 {
template <class T>
constexpr GemmKernels<T> kKernels{
    {make_shape<T, 32, 1, 14>(), make_shape<T, 64, 1, 14>(), make_shape<T, 64, 2, 14>()}, 3};
}

}  // namespace

#define STRIATE_GEMM_GETTER(isa, type) STRIATE_GEMM_GETTER_(isa, type)
#define STRIATE_GEMM_GETTER_(isa, type) \
  const GemmKernels<type>& gemm_kernels_##isa##_##type() { return isa::kKernels<type>; }
STRIATE_GEMM_GETTER(STRIATE_ISA, float)
STRIATE_GEMM_GETTER(STRIATE_ISA, double)

}  // namespace striate::cpu
