// Small kernels in the style of cuda/, and a main that checks them exactly. planted_bugs.py
// compiles this file with one bug at a time and expects each to be caught.
#include <cuda_bf16.h>

#include <cstdio>
#include <cstdlib>
#include <launch.cuh>
#include <memory>
#include <ptx.cuh>
#include <vector>

using striate::Stream;
using namespace striate::cuda;

namespace {

// --- Kernels ------------------------------------------------------------------------------------

/// Sum and maximum of each block's part of x.
__global__ void reduce_kernel(const float* x, float* sums, float* maxima, int n) {
  __shared__ float partial[4];
  const int i = blockIdx.x * blockDim.x + threadIdx.x, warp = threadIdx.x / 32;
  float sum = i < n ? x[i] : 0;
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(~0u, sum, step);
  if (threadIdx.x % 32 == 0) partial[warp] = sum;
  __syncthreads();  // the warps' sums are there
  if (threadIdx.x == 0) sums[blockIdx.x] = partial[0] + partial[1] + partial[2] + partial[3];
  float maximum = i < n ? x[i] : -1e30f;
  for (int step = 16; step > 0; step /= 2) {
    maximum = fmaxf(maximum, __shfl_xor_sync(~0u, maximum, step));
  }
  __syncthreads();  // the sums were read
  if (threadIdx.x % 32 == 0) partial[warp] = maximum;
  __syncthreads();
  if (threadIdx.x == 0) {
    maxima[blockIdx.x] = fmaxf(fmaxf(partial[0], partial[1]), fmaxf(partial[2], partial[3]));
  }
}

constexpr int kTile = 32;

/// y [columns][rows] from x [rows][columns].
__global__ void transpose_kernel(const float* x, float* y, int rows, int columns) {
  __shared__ float tile[kTile][kTile + 1];
  for (int r = threadIdx.y; r < kTile; r += blockDim.y) {
    const int row = blockIdx.y * kTile + r, column = blockIdx.x * kTile + threadIdx.x;
    if (row < rows && column < columns) tile[r][threadIdx.x] = x[row * columns + column];
  }
  __syncthreads();  // the tile is full
  for (int c = threadIdx.y; c < kTile; c += blockDim.y) {
    const int row = blockIdx.y * kTile + threadIdx.x, column = blockIdx.x * kTile + c;
    if (row < rows && column < columns) y[column * rows + row] = tile[threadIdx.x][c];
  }
}

constexpr int kBins = 8;

__global__ void histogram_kernel(const int* x, int* bins, int n) {
  __shared__ int counts[kBins];
  if (threadIdx.x < kBins) counts[threadIdx.x] = 0;
  __syncthreads();  // the counts are zero
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(&counts[x[i]], 1);
  __syncthreads();  // the counts are complete
  if (threadIdx.x < kBins) atomicAdd(&bins[threadIdx.x], counts[threadIdx.x]);
}

/// y[i] = x[i] + the next lane's, cyclically, by way of shared memory that no other warp touches.
__global__ void rotate_kernel(const float* x, float* y) {
  float* const mine = dynamic_shared<float>() + threadIdx.x / 32 * 32;
  const int lane = threadIdx.x % 32;
  mine[lane] = x[threadIdx.x];
  __syncwarp();  // the warp's values are there
  y[threadIdx.x] = mine[lane] + mine[(lane + 1) % 32];
}

constexpr int kDepth = 16, kStages = 2;

/// c [m][8 blocks] = a [m][k] * b [k][n], 16 rows and 8 columns for each block of one warp.
__global__ void gemm_kernel(const __nv_bfloat16* a, const __nv_bfloat16* b, float* c, int m, int n,
                            int k) {
  struct Stage {
    __nv_bfloat16 a[16][kDepth], b[kDepth][8];
  };
  auto* const stages = dynamic_shared<Stage>();
  const int lane = threadIdx.x, row0 = blockIdx.y * 16, column0 = blockIdx.x * 8;
  const int steps = (k + kDepth - 1) / kDepth;
  const auto load = [&](int step) {
    if (step < steps) {
      Stage& stage = stages[step % kStages];
      const int r = lane / 2, part = lane % 2 * 8, depth = step * kDepth + part;
      const bool a_valid = row0 + r < m && depth < k;
      cp_async16(&stage.a[r][part], a_valid ? &a[(row0 + r) * k + depth] : a, a_valid);
      if (lane < kDepth) {
        const bool b_valid = step * kDepth + lane < k;
        cp_async16(stage.b[lane], b_valid ? &b[(step * kDepth + lane) * n + column0] : b, b_valid);
      }
    }
    cp_async_commit_group();
  };
  float sum[4] = {};
  load(0);
  for (int step = 0; step < steps; ++step) {
    load(step + 1);
    cp_async_wait_group<1>();  // this step's tiles
    __syncthreads();           // of all lanes
    const Stage& stage = stages[step % kStages];
    uint32_t a_part[4], b_part[2];
    ldmatrix_x4(a_part, &stage.a[lane % 16][lane / 16 * 8]);
    ldmatrix_x2_trans(b_part, stage.b[lane % 16]);
    mma_bf16(sum, a_part, b_part);
    __syncthreads();  // the stage may be filled again
  }
  for (int i = 0; i < 4; ++i) {
    const int row = row0 + lane / 4 + i / 2 * 8;
    if (row < m) c[row * n + column0 + lane % 4 * 2 + i % 2] = sum[i];
  }
}

// --- Checks -------------------------------------------------------------------------------------

/// An array of exactly its size.
template <class T>
struct Array {
  std::unique_ptr<T[]> data;
  int size;
  Array(int n, int value) : data(new T[n]), size(n) { std::fill_n(data.get(), n, T(float(value))); }
  T& operator[](int i) { return data[i]; }
  operator T*() { return data.get(); }
};
template <class T>
Array<T> numbers(int n) {
  Array<T> array(n, 0);
  for (int i = 0; i < n; ++i) array[i] = T(float(i * 7919 % 8));
  return array;
}

void expect(bool equal, const char* kernel, int i) {
  if (equal) return;
  std::fprintf(stderr, "wrong result: %s, item %d\n", kernel, i);
  std::exit(1);
}

void check_reduce() {
  const int n = 300, blocks = 3;
  auto x = numbers<float>(n);
  Array<float> sums(blocks, -1), maxima(blocks, -1);
  launch("reduce", reduce_kernel, dim3(blocks), dim3(128), 0, Stream{},
         static_cast<const float*>(x), static_cast<float*>(sums), static_cast<float*>(maxima), n);
  for (int b = 0; b < blocks; ++b) {
    float sum = 0, maximum = 0;
    for (int i = 128 * b; i < std::min(128 * (b + 1), n); ++i) {
      sum += x[i];
      maximum = std::max(maximum, x[i]);
    }
    expect(sums[b] == sum && maxima[b] == maximum, "reduce", b);
  }
}

void check_transpose() {
  const int rows = 37, columns = 45;
  auto x = numbers<float>(rows * columns);
  Array<float> y(rows * columns, -1);
  launch("transpose", transpose_kernel, dim3(2, 2), dim3(kTile, 8), 0, Stream{},
         static_cast<const float*>(x), static_cast<float*>(y), rows, columns);
  for (int i = 0; i < rows * columns; ++i) {
    expect(y[i % columns * rows + i / columns] == x[i], "transpose", i);
  }
}

void check_histogram() {
  const int n = 200;
  auto x = numbers<int>(n);
  Array<int> bins(kBins, 0), expected(kBins, 0);
  launch("histogram", histogram_kernel, dim3(4), dim3(64), 0, Stream{}, static_cast<const int*>(x),
         static_cast<int*>(bins), n);
  for (int i = 0; i < n; ++i) ++expected[x[i]];
  for (int b = 0; b < kBins; ++b) expect(bins[b] == expected[b], "histogram", b);
}

void check_rotate() {
  auto x = numbers<float>(64);
  Array<float> y(64, -1);
  launch("rotate", rotate_kernel, dim3(1), dim3(64), 64 * sizeof(float), Stream{},
         static_cast<const float*>(x), static_cast<float*>(y));
  for (int i = 0; i < 64; ++i) expect(y[i] == x[i] + x[i / 32 * 32 + (i + 1) % 32], "rotate", i);
}

void check_gemm() {
  const int m = 21, n = 16, k = 56;
  auto a = numbers<__nv_bfloat16>(m * k), b = numbers<__nv_bfloat16>(k * n);
  Array<float> c(m * n, -1);
  launch("gemm", gemm_kernel, dim3(n / 8, 2), dim3(32), kStages * kDepth * 24 * 2, Stream{},
         static_cast<const __nv_bfloat16*>(a), static_cast<const __nv_bfloat16*>(b),
         static_cast<float*>(c), m, n, k);
  for (int i = 0; i < m * n; ++i) {
    float sum = 0;
    for (int j = 0; j < k; ++j) sum += float(a[i / n * k + j]) * float(b[j * n + i % n]);
    expect(c[i] == sum, "gemm", i);
  }
}

}  // namespace

int main() {
  check_reduce();
  check_transpose();
  check_histogram();
  check_rotate();
  check_gemm();
}
