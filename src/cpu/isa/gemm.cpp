// The tile of float and double over GCC/Clang vector extensions, compiled once per instruction set.
#include "cpu/isa/gemm_tile.h"
#include "cpu/isa/tables.h"

namespace striate::cpu {
namespace {

template <class T, int kBytes>
struct Vec {
  typedef T Reg __attribute__((vector_size(kBytes)));
  typedef T Mem __attribute__((vector_size(kBytes), aligned(sizeof(T)), may_alias));
  typedef Reg Operand;
  typedef T Factor;
  static constexpr int kLanes = kBytes / sizeof(T);
  static Reg load(const T* p) { return *reinterpret_cast<const Mem*>(p); }
  static void store(T* p, Reg v) { *reinterpret_cast<Mem*>(p) = v; }
  static void stream(T* p, Reg v) { store_past_caches(reinterpret_cast<Reg*>(p), v); }
  static Operand operand(const T* p) { return load(p); }
  static Factor factor(const T* p) { return *p; }
  static void multiply_add(Reg& sum, Factor a, Operand b) { sum += a * b; }

  template <int kRows>
  static void pack_a(const T* a, int64_t a_step, int64_t count, T* packed) {
    // A power of two is fewer moves; what is too much is overwritten by the row that follows.
    constexpr int kMoved = kRows <= 1 ? 1 : kRows <= 2 ? 2 : kRows <= 4 ? 4 : kRows <= 8 ? 8 : 16;
    for (int64_t p = 1; p < count; ++p, a += a_step, packed += kRows)
      __builtin_memcpy(packed, a, kMoved * sizeof(T));
    if (count > 0) __builtin_memcpy(packed, a, kRows * sizeof(T));
  }
  template <int kWidth>
  static void pack_b(const T* const* b, int64_t offset, int64_t filled, int64_t count, T* packed) {
    for (int64_t p = 0; p < count; ++p, packed += kWidth) {
      const T* row = b[p] + offset;
      if (filled == kWidth) {
        __builtin_memcpy(packed, row, kWidth * sizeof(T));
      } else {  // what follows may not be readable
        for (int64_t j = 0; j < kWidth; ++j) packed[j] = j < filled ? row[j] : 0;
      }
    }
  }
};

// Register budgets: 32 registers hold 14x2 or 6x4 (AVX-512), 16 hold 6x2 (AVX2, SSE), which is flat
// enough. The narrow shapes serve few channels: on processors that halve 512-bit vectors a 32-byte
// one costs half.
template <class T>
constexpr GemmKernels<T> make_kernels() {
  constexpr int kBytes = kLanes<T> * sizeof(T);  // of a register
  if constexpr (kBytes == 64) {
    return {{make_shape<Vec<T, 32>, T, 1, 14>(), make_shape<Vec<T, 64>, T, 1, 14>(),
             make_shape<Vec<T, 64>, T, 2, 14>(), make_shape<Vec<T, 64>, T, 4, 6, true>()},
            3,
            4};
  } else {
    return {{make_shape<Vec<T, kBytes>, T, 1, 12>(), make_shape<Vec<T, kBytes>, T, 2, 6>()}, 2, 2};
  }
}

}  // namespace

namespace STRIATE_ISA {
constexpr GemmKernels<float> gemm_float = make_kernels<float>();
constexpr GemmKernels<double> gemm_double = make_kernels<double>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
