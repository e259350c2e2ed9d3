// Batch normalisation (Ioffe and Szegedy 2015) over x [rows][c]: one pass over the data for the
// statistics and one to apply them, forward and backward alike. Bound by memory, so what follows
// it, a residual and ReLU, is done in the same passes.
//
// Sums over rows go through three stages, each in a fixed order: a thread adds up to 64 rows in
// the type of the arithmetic, a block joins its threads in double, and a second kernel joins the
// blocks. Doubles are slow on most GPUs, so each stands for dozens of elements.
#include <algorithm>
#include <bit>

#include "entries.h"
#include "scratch.h"
#include "vector.cuh"

namespace striate::cuda {
namespace {

// --- Work division ------------------------------------------------------------------------------

/// A block has `columns` threads along a row, each with a vector of channels, and the rest along
/// the rows; each thread takes `rows_per_thread` rows.
struct Tiling {
  int columns, column_blocks;
  int64_t rows_per_thread;

  __host__ __device__ int64_t chunk_rows() const { return kThreads / columns * rows_per_thread; }
  int64_t chunks(int64_t rows) const { return ceil_div(rows, chunk_rows()); }
  dim3 threads() const {
    return dim3(static_cast<unsigned>(columns), static_cast<unsigned>(kThreads / columns));
  }
};

Tiling tile(int64_t rows, int64_t vectors, int64_t least_rows, int64_t most_rows) {
  constexpr int64_t kWarp = 32, kBlocks = 1024;
  const auto columns =
      static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::min(vectors, kWarp))));
  const int64_t column_blocks = ceil_div(vectors, columns);
  const int64_t even = ceil_div(rows * column_blocks, kThreads / columns * kBlocks);
  return {static_cast<int>(columns), static_cast<int>(column_blocks),
          std::clamp(even, least_rows, most_rows)};
}

/// What a thread has of x: a vector of channels in rows begin, begin + step, ... below end.
struct Share {
  int64_t channel, begin, end, step;
  int64_t chunk, chunk_count;  // the block's number and its rows
};

template <int kWidth>
__device__ Share share_of(const Tiling& tiling, int64_t rows) {
  const int64_t chunk = blockIdx.x / tiling.column_blocks;
  const int64_t column_block = blockIdx.x % tiling.column_blocks;
  const int64_t first = chunk * tiling.chunk_rows();
  const int64_t last = first + tiling.chunk_rows() < rows ? first + tiling.chunk_rows() : rows;
  return {(column_block * blockDim.x + threadIdx.x) * kWidth,
          first + threadIdx.y,
          last,
          blockDim.y,
          chunk,
          last - first};
}

/// Sum over the threads of a block that differ in threadIdx.y alone, for all of them.
template <int kWidth>
__device__ void sum_over_rows(double (&value)[kWidth]) {
  __shared__ double shared[kWidth][kThreads];
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) shared[k][thread] = value[k];
  for (unsigned half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.y < half) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) shared[k][thread] += shared[k][thread + half * blockDim.x];
    }
  }
  __syncthreads();
#pragma unroll
  for (int k = 0; k < kWidth; ++k) value[k] = shared[k][threadIdx.x];
  __syncthreads();  // the next call overwrites
}

// --- Kernels: forward ---------------------------------------------------------------------------

/// Means and sums of squared deviations from them, of each chunk: parts [chunks][2][c]. A thread
/// takes values relative to its first one, so that sums cancel by at most its number of rows.
template <int kWidth, class T>
__global__ void moments_kernel(const T* x, int64_t rows, int64_t c, Tiling tiling, double* parts) {
  const Share share = share_of<kWidth>(tiling, rows);
  Vector<Compute<T>, kWidth> shift = {}, sum = {}, square = {};
  int count = 0;
  if (share.channel < c && share.begin < share.end) {
    shift = load<kWidth>(x + share.begin * c + share.channel);
#pragma unroll 4
    for (int64_t row = share.begin; row < share.end; row += share.step) {
      const auto v = load<kWidth>(x + row * c + share.channel);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const Compute<T> d = v.lane[k] - shift.lane[k];
        sum.lane[k] += d;
        square.lane[k] += d * d;
      }
      ++count;
    }
  }
  double mean[kWidth], m2[kWidth];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) mean[k] = count * double(shift.lane[k]) + double(sum.lane[k]);
  sum_over_rows(mean);
  const double share_of_one = 1 / static_cast<double>(share.chunk_count);
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    mean[k] *= share_of_one;
    const double d = double(shift.lane[k]) - mean[k];
    m2[k] = double(square.lane[k]) + d * (2 * double(sum.lane[k]) + count * d);
  }
  sum_over_rows(m2);
  if (threadIdx.y > 0 || share.channel >= c) return;
  double* part = parts + share.chunk * 2 * c + share.channel;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    part[k] = mean[k];
    part[c + k] = m2[k];
  }
}

/// How the second stage's threads lie: 32 bytes of channels, and chunks.
constexpr int kJoinColumns = 4;

/// Joins each `group` chunks to one. Tiles of a convolution leave many short ones.
__global__ void join_kernel(const double* parts, int64_t chunks, int64_t chunk_rows, int64_t rows,
                            int64_t c, int64_t group, double* joined, int64_t items) {
  for_each_item<1>(items, [&](int64_t item) {
    const int64_t channel = item % c, first = item / c * group;
    const int64_t last = first + group < chunks ? first + group : chunks;
    double count = 0, mean = 0, m2 = 0;
#pragma unroll 4
    for (int64_t i = first; i < last; ++i) {
      const int64_t rest = rows - i * chunk_rows;
      const double more = static_cast<double>(rest < chunk_rows ? rest : chunk_rows);
      const double delta = parts[i * 2 * c + channel] - mean, share = more / (count + more);
      mean += delta * share;
      m2 += parts[(i * 2 + 1) * c + channel] + delta * delta * count * share;
      count += more;
    }
    joined[item / c * 2 * c + channel] = mean;
    joined[(item / c * 2 + 1) * c + channel] = m2;
  });
}

/// Joins the chunks and moves the running statistics.
template <class P>
__global__ void statistics_kernel(const double* parts, int64_t chunks, int64_t chunk_rows,
                                  int64_t rows, int64_t c, double momentum, double eps,
                                  P* save_mean, P* save_invstd, P* running_mean, P* running_var) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kJoinColumns + threadIdx.x;
  const auto count_of = [&](int64_t chunk) {
    const int64_t rest = rows - chunk * chunk_rows;
    return static_cast<double>(rest < chunk_rows ? rest : chunk_rows);
  };
  double mean[1] = {0}, m2[1] = {0};
  if (channel < c) {
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < chunks; i += blockDim.y) {
      mean[0] += count_of(i) * parts[i * 2 * c + channel];
    }
  }
  sum_over_rows(mean);
  const double n = static_cast<double>(rows);
  mean[0] /= n;
  if (channel < c) {
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < chunks; i += blockDim.y) {
      const double d = parts[i * 2 * c + channel] - mean[0];
      m2[0] += parts[(i * 2 + 1) * c + channel] + count_of(i) * d * d;
    }
  }
  sum_over_rows(m2);
  if (threadIdx.y > 0 || channel >= c) return;
  save_mean[channel] = static_cast<P>(mean[0]);
  save_invstd[channel] = static_cast<P>(1 / sqrt(m2[0] / n + eps));
  if (running_mean == nullptr) return;
  const auto move = [&](P& running, double value) {
    running = static_cast<P>((1 - momentum) * running + momentum * value);
  };
  move(running_mean[channel], mean[0]);
  move(running_var[channel], m2[0] / (n - 1));
}

/// Parameters and statistics of a vector of channels, or `fallback` where there are none.
template <int kWidth, class P>
__device__ Vector<P, kWidth> load_or(const P* array, int64_t channel, P fallback) {
  if (array != nullptr) return load_part<kWidth>(array + channel, kWidth, false);
  Vector<P, kWidth> v;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) v.lane[k] = fallback;
  return v;
}

/// The result before residual and ReLU. One operation of one rounding, so that the backward pass
/// finds the same sign.
template <class P>
__device__ P normalized(P deviation, P scale, P bias) {
  return fma(deviation, scale, bias);
}

/// y = relu((x - mean) * weight / std + bias + residual); `spread` holds 1/std, or variances if
/// `is_variance`.
template <bool kResidual, int kWidth, class T, class P>
__global__ void normalize_kernel(const T* __restrict__ x, const T* __restrict__ residual,
                                 T* __restrict__ y, int64_t rows, int64_t c, Tiling tiling,
                                 const P* means, const P* spread, bool is_variance, P eps,
                                 const P* weight, const P* bias, bool relu) {
  const Share share = share_of<kWidth>(tiling, rows);
  if (share.channel >= c) return;
  const auto mean = load_or<kWidth>(means, share.channel, P(0));
  const auto shift = load_or<kWidth>(bias, share.channel, P(0));
  const auto factor = load_or<kWidth>(weight, share.channel, P(1));
  auto scale = load_or<kWidth>(spread, share.channel, P(0));
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    if (is_variance) scale.lane[k] = 1 / sqrt(scale.lane[k] + eps);
    scale.lane[k] *= factor.lane[k];
  }
#pragma unroll 4
  for (int64_t row = share.begin; row < share.end; row += share.step) {
    const int64_t at = row * c + share.channel;
    auto v = load<kWidth>(x + at);
    Vector<P, kWidth> addend = {};
    if constexpr (kResidual) addend = load<kWidth>(residual + at);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const P value = normalized(v.lane[k] - mean.lane[k], scale.lane[k], shift.lane[k]);
      const P sum = kResidual ? value + addend.lane[k] : value;
      v.lane[k] = relu && sum <= 0 ? 0 : sum;  // asked this way round, NaN stays NaN
    }
    store(y + at, v);
  }
}

// --- Kernels: backward --------------------------------------------------------------------------

/// What a gradient has to pass: nothing, or a ReLU, whose result is computed again or read.
enum class Pass { kAll, kComputed, kStored };

/// Per channel: mean, invstd, weight and bias, the last two of which may be null.
template <class P>
struct Parameters {
  const P *means, *invstds, *weight, *bias;

  template <int kWidth>
  __device__ Vector<P, kWidth> scale(int64_t channel) const {
    auto scale = load_or<kWidth>(invstds, channel, P(1));
    const auto factor = load_or<kWidth>(weight, channel, P(1));
#pragma unroll
    for (int k = 0; k < kWidth; ++k) scale.lane[k] *= factor.lane[k];
    return scale;
  }
};

/// Sums of g and of g * (x - mean), of each chunk: parts [chunks][2][c], where g is what passes of
/// grad_y. It is stored in `masked` where the ReLU's result y is read.
template <Pass kPass, int kWidth, class T, class P>
__global__ void grad_sums_kernel(const T* grad_y, const T* x, const T* y, T* masked,
                                 Parameters<P> norm, int64_t rows, int64_t c, Tiling tiling,
                                 double* parts) {
  const Share share = share_of<kWidth>(tiling, rows);
  Vector<P, kWidth> sum = {}, product = {};
  if (share.channel < c) {
    const auto mean = load_or<kWidth>(norm.means, share.channel, P(0));
    Vector<P, kWidth> scale = {}, shift = {};
    if constexpr (kPass == Pass::kComputed) {
      scale = norm.template scale<kWidth>(share.channel);
      shift = load_or<kWidth>(norm.bias, share.channel, P(0));
    }
#pragma unroll 4
    for (int64_t row = share.begin; row < share.end; row += share.step) {
      const int64_t at = row * c + share.channel;
      auto g = load<kWidth>(grad_y + at), v = load<kWidth>(x + at);
      Vector<P, kWidth> result = {};
      if constexpr (kPass == Pass::kStored) result = load<kWidth>(y + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        v.lane[k] -= mean.lane[k];
        if constexpr (kPass == Pass::kComputed) {
          result.lane[k] = normalized(v.lane[k], scale.lane[k], shift.lane[k]);
        }
        if (kPass != Pass::kAll && result.lane[k] <= 0) g.lane[k] = 0;
        sum.lane[k] += g.lane[k];
        product.lane[k] += g.lane[k] * v.lane[k];
      }
      if constexpr (kPass == Pass::kStored) store(masked + at, g);
    }
  }
  double sums[kWidth], products[kWidth];
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    sums[k] = sum.lane[k];
    products[k] = product.lane[k];
  }
  sum_over_rows(sums);
  sum_over_rows(products);
  if (threadIdx.y > 0 || share.channel >= c) return;
  double* part = parts + share.chunk * 2 * c + share.channel;
#pragma unroll
  for (int k = 0; k < kWidth; ++k) {
    part[k] = sums[k];
    part[c + k] = products[k];
  }
}

/// Joins the chunks: the parameters' gradients, and coefficients [2][c] of the input's. Any target
/// may be null.
template <class P>
__global__ void grad_parameters_kernel(const double* parts, int64_t chunks, int64_t rows, int64_t c,
                                       const P* invstds, P* grad_weight, P* grad_bias,
                                       P* coefficients) {
  const int64_t channel = static_cast<int64_t>(blockIdx.x) * kJoinColumns + threadIdx.x;
  double sums[2] = {0, 0};
  if (channel < c) {
#pragma unroll 4
    for (int64_t i = threadIdx.y; i < chunks; i += blockDim.y) {
      sums[0] += parts[i * 2 * c + channel];
      sums[1] += parts[(i * 2 + 1) * c + channel];
    }
  }
  sum_over_rows(sums);
  if (threadIdx.y > 0 || channel >= c) return;
  const double invstd = static_cast<double>(invstds[channel]), n = static_cast<double>(rows);
  const double weight_sum = sums[1] * invstd;
  if (grad_bias != nullptr) grad_bias[channel] = static_cast<P>(sums[0]);
  if (grad_weight != nullptr) grad_weight[channel] = static_cast<P>(weight_sum);
  if (coefficients != nullptr) {
    coefficients[channel] = static_cast<P>(sums[0] / n);
    coefficients[c + channel] = static_cast<P>(weight_sum * invstd / n);
  }
}

/// grad_x = weight / std * (g - shift - (x - mean) * slope), with shift and slope in
/// `coefficients` [2][c]; these are zero in evaluation, where the statistics are constants. g is
/// grad_y, or with `kRelu` what passes of it, computed again.
template <bool kTraining, bool kRelu, int kWidth, class T, class P>
__global__ void normalize_grad_kernel(const T* __restrict__ grad_y, const T* __restrict__ x,
                                      T* __restrict__ grad_x, int64_t rows, int64_t c,
                                      Tiling tiling, Parameters<P> norm, const P* coefficients) {
  const Share share = share_of<kWidth>(tiling, rows);
  if (share.channel >= c) return;
  const auto scale = norm.template scale<kWidth>(share.channel);
  Vector<P, kWidth> mean = {}, bias = {}, shift = {}, slope = {};
  if constexpr (kTraining) {
    mean = load_or<kWidth>(norm.means, share.channel, P(0));
    shift = load_or<kWidth>(coefficients, share.channel, P(0));
    slope = load_or<kWidth>(coefficients + c, share.channel, P(0));
    if constexpr (kRelu) bias = load_or<kWidth>(norm.bias, share.channel, P(0));
  }
#pragma unroll 4
  for (int64_t row = share.begin; row < share.end; row += share.step) {
    const int64_t at = row * c + share.channel;
    auto g = load<kWidth>(grad_y + at);
    if constexpr (kTraining) {
      const auto v = load<kWidth>(x + at);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const P deviation = v.lane[k] - mean.lane[k];
        if constexpr (kRelu) {
          if (normalized(deviation, scale.lane[k], bias.lane[k]) <= 0) g.lane[k] = 0;
        }
        g.lane[k] -= shift.lane[k] + deviation * slope.lane[k];
      }
    }
#pragma unroll
    for (int k = 0; k < kWidth; ++k) g.lane[k] *= scale.lane[k];
    store(grad_x + at, g);
  }
}

// --- Launchers ----------------------------------------------------------------------------------

constexpr int64_t kMostJoined = 512;  // chunks that a block joins in a few steps
constexpr int64_t kLeastSummed = 8, kMostSummed = 64, kApplied = 8;  // rows of a thread
constexpr dim3 kJoinThreads(kJoinColumns, kThreads / kJoinColumns);

/// Calls body(type, width, summing, applying).
template <class Body, class... Pointers>
void with_tiling(DType dtype, int64_t rows, int64_t c, const Body& body, Pointers... pointers) {
  with_floating_type(dtype, [&](auto type) {
    with_width<typename decltype(type)::type>(
        c,
        [&](auto width) {
          const int64_t vectors = c / width();
          body(type, width, tile(rows, vectors, kLeastSummed, kMostSummed),
               tile(rows, vectors, kApplied, kApplied));
        },
        pointers...);
  });
}

int64_t blocks_of(const Tiling& tiling, int64_t rows) {
  return tiling.chunks(rows) * tiling.column_blocks;
}

size_t parts_bytes(int64_t chunks, int64_t c) {
  return static_cast<size_t>(chunks * 2 * c) * sizeof(double);
}

}  // namespace

void batch_norm(const BatchNormArgs& a, Stream stream) {
  const auto run = [&]<class T>(Type<T>, auto width, const Tiling& summing,
                                const Tiling& applying) {
    using P = Compute<T>;
    const T* x = static_cast<const T*>(a.x);
    P *mean = static_cast<P*>(a.running_mean), *spread = static_cast<P*>(a.running_var);
    if (a.training) {
      const bool known = a.moments.values != nullptr;
      const int64_t group =
          known ? ceil_div(ceil_div(a.rows, a.moments.chunk_rows), kMostJoined) : 1;
      const int64_t chunk_rows = known ? a.moments.chunk_rows * group : summing.chunk_rows();
      const int64_t chunks = ceil_div(a.rows, chunk_rows);
      const bool writes = !known || group > 1;
      const Scratch scratch("batch_norm", writes ? parts_bytes(chunks, a.c) : 0);
      const double* parts = writes ? scratch.as<double>() : a.moments.values;
      if (!known) {
        launch_blocks("batch_norm", moments_kernel<width(), T>, blocks_of(summing, a.rows),
                      summing.threads(), stream, x, a.rows, a.c, summing, scratch.as<double>());
      } else if (group > 1) {
        launch_items<1>("batch_norm", join_kernel, chunks * a.c, stream, a.moments.values,
                        ceil_div(a.rows, a.moments.chunk_rows), a.moments.chunk_rows, a.rows, a.c,
                        group, scratch.as<double>(), chunks * a.c);
      }
      launch_blocks("batch_norm", statistics_kernel<P>, ceil_div(a.c, kJoinColumns), kJoinThreads,
                    stream, parts, chunks, chunk_rows, a.rows, a.c, a.momentum, a.eps,
                    static_cast<P*>(a.save_mean), static_cast<P*>(a.save_invstd), mean, spread);
      mean = static_cast<P*>(a.save_mean);
      spread = static_cast<P*>(a.save_invstd);
    }
    with_value<false, true>(a.residual != nullptr, [&](auto residual) {
      launch_blocks("batch_norm", normalize_kernel<residual(), width(), T, P>,
                    blocks_of(applying, a.rows), applying.threads(), stream, x,
                    static_cast<const T*>(a.residual), static_cast<T*>(a.y), a.rows, a.c, applying,
                    mean, spread, !a.training, static_cast<P>(a.eps),
                    static_cast<const P*>(a.weight), static_cast<const P*>(a.bias), a.relu);
    });
  };
  with_tiling(a.dtype, a.rows, a.c, run, a.x, a.residual, a.y);
}

void batch_norm_backward(const BatchNormBackwardArgs& a, Stream stream) {
  const bool wants_coefficients = a.training && a.grad_x != nullptr;
  const bool wants_sums = wants_coefficients || a.grad_weight != nullptr ||
                          a.grad_bias != nullptr || a.grad_residual != nullptr;
  const Pass pass = !a.relu ? Pass::kAll : a.y == nullptr ? Pass::kComputed : Pass::kStored;
  const auto run = [&]<class T>(Type<T>, auto width, const Tiling& summing,
                                const Tiling& applying) {
    using P = Compute<T>;
    const T *grad_y = static_cast<const T*>(a.grad_y), *x = static_cast<const T*>(a.x);
    T* masked = static_cast<T*>(a.grad_residual);
    const Parameters<P> norm{static_cast<const P*>(a.mean), static_cast<const P*>(a.invstd),
                             static_cast<const P*>(a.weight), static_cast<const P*>(a.bias)};
    const size_t bytes = wants_sums ? parts_bytes(summing.chunks(a.rows), a.c) : 0;
    const Scratch scratch("batch_norm", bytes + 2 * static_cast<size_t>(a.c) * sizeof(P));
    P* coefficients = reinterpret_cast<P*>(scratch.as<char>() + bytes);
    if (wants_sums) {
      double* parts = scratch.as<double>();
      with_value<Pass::kAll, Pass::kComputed, Pass::kStored>(pass, [&](auto passing) {
        launch_blocks("batch_norm", grad_sums_kernel<passing(), width(), T, P>,
                      blocks_of(summing, a.rows), summing.threads(), stream, grad_y, x,
                      static_cast<const T*>(a.y), masked, norm, a.rows, a.c, summing, parts);
      });
      launch_blocks("batch_norm", grad_parameters_kernel<P>, ceil_div(a.c, kJoinColumns),
                    kJoinThreads, stream, parts, summing.chunks(a.rows), a.rows, a.c, norm.invstds,
                    static_cast<P*>(a.grad_weight), static_cast<P*>(a.grad_bias),
                    wants_coefficients ? coefficients : nullptr);
    }
    if (a.grad_x == nullptr) return;
    const auto apply = [&](auto training, auto relu) {
      launch_blocks("batch_norm", normalize_grad_kernel<training(), relu(), width(), T, P>,
                    blocks_of(applying, a.rows), applying.threads(), stream,
                    masked != nullptr ? masked : grad_y, x, static_cast<T*>(a.grad_x), a.rows, a.c,
                    applying, norm, coefficients);
    };
    const std::true_type yes;
    const std::false_type no;
    if (pass == Pass::kComputed) {
      apply(yes, yes);
    } else if (a.training) {
      apply(yes, no);
    } else {
      apply(no, no);
    }
  };
  with_tiling(a.dtype, a.rows, a.c, run, a.grad_y, a.x, a.y, a.grad_x, a.grad_residual);
}

}  // namespace striate::cuda
