// The inner product of the tiled convolutions, and what follows it. A tile class keeps the sums of
// kM x kN results in the registers of 128 threads, multiplies one slice of both operands in shared
// memory (layout: conv_index.h) and in the end writes the sums to shared memory, from where they
// are stored in whole vectors.
//
// kPixels: the slice lies pixel by pixel, as a weight gradient has it; otherwise row by row.
#pragma once

#include <cuda_bf16.h>

#include <launch.cuh>  // cuda/device's, or a host harness's
#include <ptx.cuh>

#include "conv_index.h"
#include "index.cuh"

namespace striate::cuda {
namespace {

// --- Tensor cores -------------------------------------------------------------------------------

// Both types' fragments are the same bytes of a slice: 16 rows or 8 columns by 32 bytes. Only a
// weight gradient's must be turned while they are loaded, which ldmatrix does for 16-bit elements.

struct Bf16Mma {
  using Element = __nv_bfloat16;
  static constexpr int kDepth = 16;  // of the reduction, per instruction

  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_bf16(d, a, b);
  }
  __device__ static void load_rows(uint32_t (&r)[4], const unsigned char* shared) {
    ldmatrix_x4(r, shared);
  }
  /// A fragment of 16 rows from `first` on, at pixels `pixel` to pixel + 15.
  template <int kRows>
  __device__ static void load_a_pixels(uint32_t (&r)[4], const unsigned char* tile, int pixel,
                                       int first, int lane) {
    const MatrixLane at = a_lane_transposed(lane);
    ldmatrix_x4_trans(r, tile + pixel_chunk(pixel + at.row, first / 8 + at.chunk, kRows, 2));
  }
  /// Two B fragments of 8 columns each.
  template <int kRows>
  __device__ static void load_b_pixels(uint32_t (&r)[4], const unsigned char* tile, int pixel,
                                       int first, int lane) {
    const MatrixLane at = b_lane_transposed(lane);
    ldmatrix_x4_trans(r, tile + pixel_chunk(pixel + at.row, first / 8 + at.chunk, kRows, 2));
  }
};

struct Tf32Mma {
  using Element = float;
  static constexpr int kDepth = 8;

  __device__ static void multiply(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    mma_tf32(d, a, b);
  }
  __device__ static void load_rows(uint32_t (&r)[4], const unsigned char* shared) {
    ldmatrix_x4(r, shared);
#pragma unroll
    for (uint32_t& word : r) word = to_tf32(__uint_as_float(word));
  }
  template <int kRows>
  __device__ static uint32_t at(const unsigned char* tile, int pixel, int row) {
    const unsigned char* word = tile + pixel_chunk(pixel, row / 4, kRows, 4) + row % 4 * 4;
    return to_tf32(*reinterpret_cast<const float*>(word));
  }
  template <int kRows>
  __device__ static void load_a_pixels(uint32_t (&r)[4], const unsigned char* tile, int pixel,
                                       int first, int lane) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      r[i] = at<kRows>(tile, pixel + lane % 4 + i / 2 * 4, first + lane / 4 + i % 2 * 8);
    }
  }
  template <int kRows>
  __device__ static void load_b_pixels(uint32_t (&r)[4], const unsigned char* tile, int pixel,
                                       int first, int lane) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      r[i] = at<kRows>(tile, pixel + lane % 4 + i % 2 * 4, first + lane / 4 + i / 2 * 8);
    }
  }
};

template <class Mma, int kTileM, int kTileN, bool kPixels>
struct TensorCoreTile {
  using Element = typename Mma::Element;
  static constexpr int kM = kTileM, kN = kTileN;
  static constexpr bool kByPixels = kPixels;
  static constexpr int kBlocksM = kM / 32, kBlocksN = kN / 16;  // of a warp: 16 rows, 8 columns

  float sum[kBlocksM][kBlocksN][4];

  __device__ TensorCoreTile() {
#pragma unroll
    for (auto& row : sum) {
#pragma unroll
      for (auto& block : row) {
#pragma unroll
        for (float& value : block) value = 0;
      }
    }
  }

  __device__ static int first_row() { return static_cast<int>(threadIdx.x) / 64 * (kM / 2); }
  __device__ static int first_column() { return static_cast<int>(threadIdx.x) / 32 % 2 * (kN / 2); }

  __device__ void multiply(const unsigned char* a, const unsigned char* b) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int k = 0; k < kSliceBytes / 32; ++k) {
      uint32_t rows[kBlocksM][4], columns[kBlocksN][2];
#pragma unroll
      for (int i = 0; i < kBlocksM; ++i) {
        if constexpr (kPixels) {
          Mma::template load_a_pixels<kM>(rows[i], a, k * Mma::kDepth, first_row() + i * 16, lane);
        } else {
          const MatrixLane at = a_lane(lane);
          Mma::load_rows(rows[i], a + row_chunk(first_row() + i * 16 + at.row, k * 2 + at.chunk));
        }
      }
#pragma unroll
      for (int j = 0; j < kBlocksN; j += 2) {
        uint32_t pair[4];
        if constexpr (kPixels) {
          Mma::template load_b_pixels<kN>(pair, b, k * Mma::kDepth, first_column() + j * 8, lane);
        } else {
          const MatrixLane at = b_lane(lane);
          Mma::load_rows(pair, b + row_chunk(first_column() + j * 8 + at.row, k * 2 + at.chunk));
        }
#pragma unroll
        for (int word = 0; word < 4; ++word) columns[j + word / 2][word % 2] = pair[word];
      }
#pragma unroll
      for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
        for (int j = 0; j < kBlocksN; ++j) Mma::multiply(sum[i][j], rows[i], columns[j]);
      }
    }
  }

  __device__ void write(float* shared, int pitch) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
    for (int i = 0; i < kBlocksM; ++i) {
#pragma unroll
      for (int j = 0; j < kBlocksN; ++j) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int row = first_row() + i * 16 + half * 8 + lane / 4;
          const int column = first_column() + j * 8 + lane % 4 * 2;
          *reinterpret_cast<float2*>(shared + row * pitch + column) =
              make_float2(sum[i][j][half * 2], sum[i][j][half * 2 + 1]);
        }
      }
    }
  }
};

// --- CUDA cores ---------------------------------------------------------------------------------

/// Float32 throughout. Threads are 16 x 8; each has every 16th row and every 8th column, or, by
/// pixels, four neighbouring ones of each 64 and each 32.
template <int kTileM, int kTileN, bool kPixels>
struct CudaCoreTile {
  using Element = float;
  static constexpr int kM = kTileM, kN = kTileN;
  static constexpr bool kByPixels = kPixels;
  static constexpr int kRows = kM / 16, kColumns = kN / 8;

  float sum[kRows][kColumns];

  __device__ CudaCoreTile() {
#pragma unroll
    for (auto& row : sum) {
#pragma unroll
      for (float& value : row) value = 0;
    }
  }

  __device__ static int thread_row() { return static_cast<int>(threadIdx.x) / 8; }
  __device__ static int thread_column() { return static_cast<int>(threadIdx.x) % 8; }
  __device__ static float4 load(const unsigned char* shared) {
    return *reinterpret_cast<const float4*>(shared);
  }

  __device__ void multiply(const unsigned char* a, const unsigned char* b) {
    if constexpr (kPixels) {
      multiply_pixels(a, b);
    } else {
      multiply_rows(a, b);
    }
  }

  __device__ void multiply_rows(const unsigned char* a, const unsigned char* b) {
#pragma unroll 1  // more would spill
    for (int chunk = 0; chunk < kSliceBytes / 16; ++chunk) {
      float4 rows[kRows];
#pragma unroll
      for (int i = 0; i < kRows; ++i) rows[i] = load(a + row_chunk(thread_row() + i * 16, chunk));
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const float4 column = load(b + row_chunk(thread_column() + j * 8, chunk));
#pragma unroll
        for (int i = 0; i < kRows; ++i) {
          sum[i][j] = fmaf(rows[i].x, column.x, sum[i][j]);
          sum[i][j] = fmaf(rows[i].y, column.y, sum[i][j]);
          sum[i][j] = fmaf(rows[i].z, column.z, sum[i][j]);
          sum[i][j] = fmaf(rows[i].w, column.w, sum[i][j]);
        }
      }
    }
  }

  __device__ void multiply_pixels(const unsigned char* a, const unsigned char* b) {
#pragma unroll 4
    for (int pixel = 0; pixel < kSliceBytes / 4; ++pixel) {
      float rows[kRows], columns[kColumns];
#pragma unroll
      for (int i = 0; i < kRows; i += 4) {
        const float4 four = load(a + pixel_chunk(pixel, thread_row() + i * 4, kM, 4));
        rows[i] = four.x;
        rows[i + 1] = four.y;
        rows[i + 2] = four.z;
        rows[i + 3] = four.w;
      }
#pragma unroll
      for (int j = 0; j < kColumns; j += 4) {
        const float4 four = load(b + pixel_chunk(pixel, thread_column() + j * 2, kN, 4));
        columns[j] = four.x;
        columns[j + 1] = four.y;
        columns[j + 2] = four.z;
        columns[j + 3] = four.w;
      }
#pragma unroll
      for (int i = 0; i < kRows; ++i) {
#pragma unroll
        for (int j = 0; j < kColumns; ++j) sum[i][j] = fmaf(rows[i], columns[j], sum[i][j]);
      }
    }
  }

  __device__ void write(float* shared, int pitch) const {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const int row = kPixels ? i / 4 * 64 + thread_row() * 4 + i % 4 : thread_row() + i * 16;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int column =
            kPixels ? j / 4 * 32 + thread_column() * 4 + j % 4 : thread_column() + j * 8;
        shared[row * pitch + column] = sum[i][j];
      }
    }
  }
};

// --- Pipeline -----------------------------------------------------------------------------------

/// Bytes of a slice of an operand with `rows` rows.
template <class Tile>
constexpr int slice_bytes(int rows) {
  return Tile::kByPixels ? pixel_slice(rows, sizeof(typename Tile::Element)) : rows * kSliceBytes;
}
template <class Tile>
constexpr int kStageBytes = slice_bytes<Tile>(Tile::kM) + slice_bytes<Tile>(Tile::kN);
/// Floats from one row of written sums to the next; 8 more than the columns spread the rows of a
/// fragment over the banks.
template <class Tile>
constexpr int kSumPitch = Tile::kN + 8;
/// Blocks that a processor of 228 KiB of shared memory holds: 2, 3 or 4. The compiler then knows
/// how many registers there are.
template <class Tile>
constexpr int kResidentBlocks = 6 - (Tile::kM + Tile::kN) / 64;
/// The sums take the place of the slices.
template <class Tile>
constexpr int kSharedBytes = kStageBytes<Tile> * kStages;

/// Sums `slices` slices, which loader.load(a, b) requests one after the other, and leaves the
/// result in shared memory.
template <class Tile, class Loader>
__device__ float* sum_slices(Loader& loader, int slices) {
  static_assert(Tile::kM * kSumPitch<Tile> * 4 <= kSharedBytes<Tile>);
  unsigned char* shared = dynamic_shared<unsigned char>();
  const auto stage = [&](int slice) { return shared + slice % kStages * kStageBytes<Tile>; };
  const auto request = [&](int slice) {
    if (slice < slices) loader.load(stage(slice), stage(slice) + slice_bytes<Tile>(Tile::kM));
    cp_async_commit_group();
  };
  Tile tile;
  for (int slice = 0; slice < kStages - 1; ++slice) request(slice);
  for (int slice = 0; slice < slices; ++slice) {
    cp_async_wait_group<kStages - 2>();
    // All threads' copies of this slice are there, and all have read the one that is overwritten.
    __syncthreads();
    request(slice + kStages - 1);
    tile.multiply(stage(slice), stage(slice) + slice_bytes<Tile>(Tile::kM));
  }
  __syncthreads();
  float* sums = reinterpret_cast<float*>(shared);
  tile.write(sums, kSumPitch<Tile>);
  __syncthreads();
  return sums;
}

/// One copy of kBytes that tells the compiler its size.
template <int kBytes>
__device__ void copy_vector(unsigned char* shared, const unsigned char* global, bool valid) {
  static_assert(kBytes == 8 || kBytes == 16);
  if constexpr (kBytes == 16) {
    cp_async16(shared, global, valid);
  } else {
    cp_async8(shared, global, valid);
  }
}

}  // namespace
}  // namespace striate::cuda
