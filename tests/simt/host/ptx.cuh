// Stands in for cuda/device/ptx.cuh: what the instructions do, by the PTX manual.
#pragma once

#include <array>

namespace striate::cuda {

// --- Asynchronous copies ------------------------------------------------------------------------

inline bool is_misaligned(const void* p, int bytes) {
  return reinterpret_cast<uintptr_t>(p) % static_cast<uintptr_t>(bytes) != 0;
}
/// What arrives is there after the wait and not before: until then, the target holds NaN.
template <int kBytes>
void cp_async(void* shared, const void* global, bool valid, simt::Site site) {
  if (is_misaligned(shared, kBytes) || is_misaligned(global, kBytes)) {
    simt::fail("cp.async of a misaligned address", site);
  }
  for (int word = 0; word < kBytes / 4; ++word) static_cast<uint32_t*>(shared)[word] = ~0u;
  simt::begin_copy({shared, valid ? global : nullptr, kBytes});
}
inline void cp_async16(void* shared, const void* global, bool valid, SIMT_SITE) {
  cp_async<16>(shared, global, valid, site);
}
inline void cp_async8(void* shared, const void* global, bool valid, SIMT_SITE) {
  cp_async<8>(shared, global, valid, site);
}
inline void cp_async4(void* shared, const void* global, bool valid, SIMT_SITE) {
  cp_async<4>(shared, global, valid, site);
}
inline void cp_async_commit_group() { simt::commit_copies(); }
template <int kPending>
void cp_async_wait_group() {
  for (simt::Copy copy; simt::end_copy(kPending, copy);) {
    const auto* const source = static_cast<const uint32_t*>(copy.global);
    for (int word = 0; word < copy.bytes / 4; ++word) {
      static_cast<uint32_t*>(copy.shared)[word] = source == nullptr ? 0 : source[word];
    }
  }
}

// --- Matrices from shared memory ----------------------------------------------------------------

template <bool kTranspose, int kMatrices>
void ldmatrix(uint32_t (&r)[kMatrices], const void* shared, simt::Site site) {
  std::array<uint16_t, 8> row = {};
  if (simt::lane() < 8 * kMatrices) {
    if (is_misaligned(shared, 16)) simt::fail("ldmatrix of a misaligned address", site);
    for (int i = 0; i < 8; ++i) row[i] = static_cast<const uint16_t*>(shared)[i];
  }
  using Words = std::array<uint32_t, kMatrices>;
  const auto combine = [](int to, const auto& row_of) {
    const int group = to / 4, pair = to % 4 * 2;
    Words result;
    for (int m = 0; m < kMatrices; ++m) {
      const auto item = [&](int i) -> uint32_t {
        return kTranspose ? row_of(8 * m + pair + i)[group] : row_of(8 * m + group)[pair + i];
      };
      result[m] = item(0) | item(1) << 16;
    }
    return result;
  };
  const Words words = simt::warp_operation<Words>("ldmatrix", ~0u, row, site, combine);
  for (int m = 0; m < kMatrices; ++m) r[m] = words[m];
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared, SIMT_SITE) {
  ldmatrix<false>(r, shared, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared, SIMT_SITE) {
  ldmatrix<true>(r, shared, site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* shared, SIMT_SITE) {
  ldmatrix<false>(r, shared, site);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared, SIMT_SITE) {
  ldmatrix<true>(r, shared, site);
}

// --- Tensor cores -------------------------------------------------------------------------------

struct MmaOperands {
  uint32_t a[4], b[2];
};
/// A register of an operand holds kPack values of neighbouring k, the first in the lowest bits.
template <int kPack>
void mma(float (&d)[4], const MmaOperands& operands, simt::Site site) {
  using Sums = std::array<float, 4>;
  const auto combine = [](int to, const auto& operands_of) {
    const auto value = [](uint32_t word, int part) {
      return std::bit_cast<float>(kPack == 1 ? word & 0xFFFFE000 : word >> 16 * part << 16);
    };
    Sums result = {};
    for (int i = 0; i < 4; ++i) {
      const int row = to / 4 + 8 * (i / 2), column = 2 * (to % 4) + i % 2;
      for (int k = 0; k < 8 * kPack; ++k) {
        const int member = k / kPack % 4, upper = k / kPack / 4;
        const uint32_t a = operands_of(4 * (row % 8) + member).a[row / 8 + 2 * upper];
        const uint32_t b = operands_of(4 * column + member).b[upper];
        result[i] += value(a, k % kPack) * value(b, k % kPack);
      }
    }
    return result;
  };
  const Sums sums = simt::warp_operation<Sums>("mma", ~0u, operands, site, combine);
  for (int i = 0; i < 4; ++i) d[i] += sums[i];
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_SITE) {
  mma<2>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, site);
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], SIMT_SITE) {
  mma<1>(d, {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}}, site);
}
inline uint32_t to_tf32(float value) {
  return (std::bit_cast<uint32_t>(value) + 0x1000) & 0xFFFFE000;
}

}  // namespace striate::cuda
