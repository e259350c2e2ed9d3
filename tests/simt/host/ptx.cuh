// Stands in for cuda/device/ptx.cuh: what the instructions do, by the PTX manual.
#pragma once

#include <array>
#include <cstring>

namespace striate::cuda {

// --- Asynchronous copies ------------------------------------------------------------------------

/// What arrives is there after the wait and not before: until then, the target holds NaN.
template <int kBytes>
void cp_async(void* shared, const void* global, bool valid, simt::Site site) {
  const auto misaligned = [](const void* p) {
    return reinterpret_cast<uintptr_t>(p) % kBytes != 0;
  };
  if (misaligned(shared) || misaligned(global))
    simt::fail(site, "cp.async of a misaligned address");
  for (int word = 0; word < kBytes / 4; ++word) static_cast<uint32_t*>(shared)[word] = ~0u;
  simt::begin_copy({shared, valid ? global : nullptr, kBytes});
}
inline void cp_async16(void* shared, const void* global, bool valid,
                       simt::Site site = simt::Site::current()) {
  cp_async<16>(shared, global, valid, site);
}
inline void cp_async8(void* shared, const void* global, bool valid,
                      simt::Site site = simt::Site::current()) {
  cp_async<8>(shared, global, valid, site);
}
inline void cp_async4(void* shared, const void* global, bool valid,
                      simt::Site site = simt::Site::current()) {
  cp_async<4>(shared, global, valid, site);
}
inline void cp_async_commit_group() { simt::commit_copies(); }

template <int kPending>
void cp_async_wait_group() {
  constexpr uint32_t kZeros[4] = {};
  for (simt::Copy copy; simt::end_copy(kPending, copy);) {
    auto* const target = static_cast<uint32_t*>(copy.shared);
    const auto* const source =
        copy.global == nullptr ? kZeros : static_cast<const uint32_t*>(copy.global);
    for (int word = 0; word < copy.bytes / 4; ++word) target[word] = source[word];
  }
}

// --- Matrices from shared memory ----------------------------------------------------------------

template <int kMatrices, bool kTranspose>
void ldmatrix(uint32_t (&r)[kMatrices], const void* shared, simt::Site site) {
  struct Row {
    uint16_t item[8];
  } row = {};
  if (simt::lane() < 8 * kMatrices) {
    if (reinterpret_cast<uintptr_t>(shared) % 16 != 0) {
      simt::fail(site, "ldmatrix of a misaligned address");
    }
    for (int i = 0; i < 8; ++i) row.item[i] = static_cast<const uint16_t*>(shared)[i];
  }
  using Words = std::array<uint32_t, kMatrices>;
  const auto words =
      simt::warp_operation<Words>("ldmatrix", ~0u, row, site, [](int to, const auto& row_of) {
        const int group = to / 4, member = to % 4;
        Words result;
        for (int m = 0; m < kMatrices; ++m) {
          uint32_t half[2];
          for (int i = 0; i < 2; ++i) {
            half[i] = kTranspose ? row_of(8 * m + 2 * member + i).item[group]
                                 : row_of(8 * m + group).item[2 * member + i];
          }
          result[m] = half[0] | half[1] << 16;
        }
        return result;
      });
  for (int m = 0; m < kMatrices; ++m) r[m] = words[m];
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared,
                        simt::Site site = simt::Site::current()) {
  ldmatrix<4, false>(r, shared, site);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared,
                              simt::Site site = simt::Site::current()) {
  ldmatrix<4, true>(r, shared, site);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* shared,
                        simt::Site site = simt::Site::current()) {
  ldmatrix<2, false>(r, shared, site);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared,
                              simt::Site site = simt::Site::current()) {
  ldmatrix<2, true>(r, shared, site);
}

// --- Tensor cores -------------------------------------------------------------------------------

/// A register of an operand holds kPack values of neighbouring k, the first in the lowest bits.
template <int kPack>
void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], simt::Site site) {
  struct Operands {
    uint32_t a[4], b[2];
  } operands = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  using Sums = std::array<float, 4>;
  const auto sums =
      simt::warp_operation<Sums>("mma", ~0u, operands, site, [](int to, const auto& operands_of) {
        const auto value = [](uint32_t word, int part) {
          const uint32_t bits = kPack == 1 ? word & 0xFFFFE000 : word >> 16 * part << 16;
          return std::bit_cast<float>(bits);
        };
        Sums result = {};
        for (int i = 0; i < 4; ++i) {
          const int row = to / 4 + 8 * (i / 2), column = 2 * (to % 4) + i % 2;
          for (int k = 0; k < 8 * kPack; ++k) {
            const int member = k / kPack % 4, upper = k / kPack / 4;
            const uint32_t a_word = operands_of(4 * (row % 8) + member).a[row / 8 + 2 * upper];
            const uint32_t b_word = operands_of(4 * column + member).b[upper];
            result[i] += value(a_word, k % kPack) * value(b_word, k % kPack);
          }
        }
        return result;
      });
  for (int i = 0; i < 4; ++i) d[i] += sums[i];
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     simt::Site site = simt::Site::current()) {
  mma<2>(d, a, b, site);
}
inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                     simt::Site site = simt::Site::current()) {
  mma<1>(d, a, b, site);
}
inline uint32_t to_tf32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return value != value ? bits : (bits + 0x1000) & 0xFFFFE000;
}

}  // namespace striate::cuda
