// Instructions that CUDA C++ has no intrinsic for, one function each: all the inline assembly of
// the project, so that a host harness can put its own file in this one's place. Fragments are those
// of the PTX manual: `lane` is threadIdx.x % 32, group = lane / 4, member = lane % 4.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace striate::cuda {

__device__ inline uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

// --- Asynchronous copies from global to shared memory -------------------------------------------

/// Copies 16 bytes, both sides aligned to 16, past the L1 cache; writes zeros where not `valid`
/// (`global` is not read then). The data is there after a wait and, for other threads, a barrier.
__device__ inline void cp_async16(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}
/// As above with 8 bytes.
__device__ inline void cp_async8(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 8 : 0)
               : "memory");
}
/// As above with 4 bytes.
__device__ inline void cp_async4(void* shared, const void* global, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(shared)),
               "l"(__cvta_generic_to_global(global)), "r"(valid ? 4 : 0)
               : "memory");
}
/// Ends the calling thread's group of copies, which may be empty.
__device__ inline void cp_async_commit_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
/// Waits until at most the kPending newest groups of the calling thread are under way.
template <int kPending>
__device__ inline void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- Matrices of 8 rows of 16 bytes from shared memory ------------------------------------------

/// Lane i gives the address of row i % 8 of matrix i / 8, aligned to 16 bytes. Of matrix m, lane i
/// receives in r[m] the 32-bit word `member` of row `group`.
__device__ inline void ldmatrix_x4(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
/// As above, of matrices of 16-bit elements, transposed: lane i receives the elements of rows
/// 2 * member and 2 * member + 1 in column `group`.
__device__ inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(shared))
               : "memory");
}
/// Two matrices; only the addresses of lanes 0 to 15 count.
__device__ inline void ldmatrix_x2(uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared))
               : "memory");
}
__device__ inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* shared) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(shared))
               : "memory");
}

// --- Tensor cores: d[16][8] += a[16][k] * b[k][8] -----------------------------------------------

/// k = 16, bfloat16 pairs, the lower k in the lower half. a[i] holds row group + 8 * (i % 2) at
/// k = 2 * member + 8 * (i / 2) and the next; b[i] column `group` at k = 2 * member + 8 * i and the
/// next; d[i] row group + 8 * (i / 2), column 2 * member + i % 2.
__device__ inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// k = 8, TF32: float32 whose lower 13 bits are ignored. a[i] holds row group + 8 * (i % 2) at
/// k = member + 4 * (i / 2); b[i] column `group` at k = member + 4 * i; d as above.
__device__ inline void mma_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// Rounds to the nearest TF32, halves away from zero.
__device__ inline uint32_t to_tf32(float value) {
  uint32_t rounded;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(rounded) : "f"(value));
  return rounded;
}

}  // namespace striate::cuda
