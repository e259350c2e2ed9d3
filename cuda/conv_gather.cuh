// Forward pass and input gradient as implicit matrix products: rows are result pixels, columns
// filters, and the reduction runs over taps and channels, which each thread walks with a cursor.
// Whatever a tap reads outside the image is filled with zeros by the copy itself.
#pragma once

#include "conv_kernels.cuh"
#include "conv_tile.cuh"

namespace striate::cuda {
namespace {

/// Count, mean and sum of squared deviations of some values.
struct Moments {
  double count, mean, m2;

  /// Takes in other values. (Chan, Golub and LeVeque 1983.)
  __device__ void join(const Moments& other) {
    if (other.count == 0) return;
    const double all = count + other.count;
    const double delta = other.mean - mean, share = other.count / all;
    mean += delta * share;
    m2 += other.m2 + delta * delta * count * share;
    count = all;
  }
};

template <class T>
struct GatherArgs {
  GatherShape shape;
  ConvOperands<T> operands;
  Epilogue<T> epilogue;
};

/// Requests slices of both operands. A thread copies one vector of the slice, the same for all its
/// rows, and so needs one cursor.
template <class Tile, int kVectorBytes>
struct GatherLoader {
  static constexpr int kVectors = kSliceBytes / kVectorBytes;
  static constexpr int kStep = kTileThreads / kVectors;  // rows that all threads copy at once
  static constexpr int kRowsM = Tile::kM / kStep, kRowsN = Tile::kN / kStep;
  static_assert(kStep % 8 == 0);  // then the rows of a thread permute their chunks alike

  const GatherShape& shape;
  const unsigned char* source;
  const unsigned char* weight;
  PhaseTaps<int32_t> row_taps, column_taps;
  TapCursor cursor;
  int32_t base[kRowsM], row[kRowsM], column[kRowsM];  // of pixels: vector offset, first coordinates
  int32_t filter, weight_row;                         // first filter and its vector offset
  int shared_byte;

  __device__ int32_t pixel_vectors() const { return shape.vectors * shape.groups; }
  __device__ int32_t filter_vectors() const {
    return shape.rows.kernel * shape.columns.kernel * shape.vectors;
  }

  __device__ GatherLoader(const GatherArgs<typename Tile::Element>& args, const GatherBlock& block,
                          const PhaseTaps<int32_t>& row_taps, const PhaseTaps<int32_t>& column_taps,
                          int32_t first_slice)
      : shape(args.shape),
        source(reinterpret_cast<const unsigned char*>(args.operands.source)),
        weight(reinterpret_cast<const unsigned char*>(args.operands.other)),
        row_taps(row_taps),
        column_taps(column_taps) {
    const int vector = static_cast<int>(threadIdx.x) % kVectors;
    const int first = static_cast<int>(threadIdx.x) / kVectors;
    shared_byte = row_chunk(first, vector * kVectorBytes / 16) + vector * kVectorBytes % 16;
    if (column_taps.count > 0) {
      cursor = cursor_at(first_slice * kVectors + vector, column_taps.count, shape.by_vectors);
    } else {
      cursor = {0, 0, 0};  // a phase without taps has no slices
    }
    const int32_t pixels = shape.pixels();
#pragma unroll
    for (int i = 0; i < kRowsM; ++i) {
      const int32_t m = block.tile_m * Tile::kM + first + i * kStep;
      const Pixel pixel = pixel_at(m, shape.by_phase_rows, shape.by_phase_columns);
      // Rows past the last pixel are outside of every image.
      row[i] = m < pixels ? pixel.row * shape.rows.source_step : -(1 << 30);
      column[i] = pixel.column * shape.columns.source_step;
      base[i] =
          m < pixels
              ? ((pixel.image * shape.rows.source + row[i]) * shape.columns.source + column[i]) *
                        pixel_vectors() +
                    block.group * shape.vectors
              : 0;
    }
    filter = block.tile_n * Tile::kN + first;
    weight_row = (block.group * shape.filters + filter) * filter_vectors();
  }

  __device__ void load(unsigned char* a, unsigned char* b) {
    const bool more = cursor.row < row_taps.count;
    const int32_t row_offset = row_taps.offset + cursor.row * shape.rows.offset_step;
    const int32_t column_offset = column_taps.offset + cursor.column * shape.columns.offset_step;
    const int32_t offset =
        (row_offset * shape.columns.source + column_offset) * pixel_vectors() + cursor.vector;
#pragma unroll
    for (int i = 0; i < kRowsM; ++i) {
      const bool inside =
          more &&
          static_cast<uint32_t>(row[i] + row_offset) < static_cast<uint32_t>(shape.rows.source) &&
          static_cast<uint32_t>(column[i] + column_offset) <
              static_cast<uint32_t>(shape.columns.source);
      const int64_t vector = inside ? base[i] + offset : 0;
      copy_vector<kVectorBytes>(a + shared_byte + i * kStep * kSliceBytes,
                                source + vector * kVectorBytes, inside);
    }
    const int32_t kernel_row = row_taps.kernel + cursor.row * shape.rows.kernel_step;
    const int32_t kernel_column = column_taps.kernel + cursor.column * shape.columns.kernel_step;
    const int32_t tap =
        (kernel_row * shape.columns.kernel + kernel_column) * shape.vectors + cursor.vector;
#pragma unroll
    for (int i = 0; i < kRowsN; ++i) {
      const bool inside = more && filter + i * kStep < shape.filters;
      const int64_t vector = inside ? weight_row + i * kStep * filter_vectors() + tap : 0;
      copy_vector<kVectorBytes>(b + shared_byte + i * kStep * kSliceBytes,
                                weight + vector * kVectorBytes, inside);
    }
    advance(cursor, kVectors, column_taps.count, shape.by_vectors);
  }
};

/// Stores kItems neighbouring results of one pixel.
template <class T>
__device__ void store_results(const Epilogue<T>& e, const float* sums, int64_t offset,
                              int32_t column, int32_t count) {
  constexpr int kItems = 16 / sizeof(T);
  if (!e.vectors) {
    for (int i = 0; i < kItems && i < count; ++i) {
      if (e.partial != nullptr) {
        e.partial[offset + i] = sums[i];
      } else {
        e.y[offset + i] = finish(e, sums[i], offset + i, column + i);
      }
    }
    return;
  }
  float4 fours[kItems / 4];
#pragma unroll
  for (int i = 0; i < kItems / 4; ++i) fours[i] = reinterpret_cast<const float4*>(sums)[i];
  if (e.partial != nullptr) {
#pragma unroll
    for (int i = 0; i < kItems / 4; ++i) {
      reinterpret_cast<float4*>(e.partial + offset)[i] = fours[i];
    }
    return;
  }
  struct alignas(16) Vector {
    T items[kItems];
  } results, residual = {};
  if (e.residual != nullptr) residual = *reinterpret_cast<const Vector*>(e.residual + offset);
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const float4& four = fours[i / 4];
    float sum = i % 4 == 0 ? four.x : i % 4 == 1 ? four.y : i % 4 == 2 ? four.z : four.w;
    if (e.bias != nullptr) sum += e.bias[column + i];
    if (e.residual != nullptr) sum += convert<float>(residual.items[i]);
    if (e.relu && sum < 0) sum = 0;
    results.items[i] = convert<T>(sum);
  }
  *reinterpret_cast<Vector*>(e.y + offset) = results;
}

/// Means, and sums of squared deviations from them, of the first `rows` rows of a tile's columns,
/// as they are stored: one of each per thread, columns repeating after Tile::kN threads. As in
/// batch norm, values are taken relative to the first of up to 64.
template <class Tile>
__device__ Moments tile_moments(const float* sums, int rows) {
  using T = typename Tile::Element;
  constexpr int kShare = Tile::kM * Tile::kN / kTileThreads, kRun = kShare < 64 ? kShare : 64;
  const int part = static_cast<int>(threadIdx.x) / Tile::kN;
  const float* column = sums + static_cast<int>(threadIdx.x) % Tile::kN;
  const auto at = [&](int row) {
    return convert<float>(convert<T>(column[row * kSumPitch<Tile>]));
  };
  Moments moments = {0, 0, 0};
#pragma unroll 1
  for (int first = part * kShare; first < (part + 1) * kShare && first < rows; first += kRun) {
    const int count = rows - first < kRun ? rows - first : kRun;
    const float shift = at(first);
    float sum = 0, square = 0;
#pragma unroll 4
    for (int row = first; row < first + count; ++row) {
      const float d = at(row) - shift;
      sum += d;
      square += d * d;
    }
    const double offset = double(sum) / count;
    moments.join({double(count), double(shift) + offset, double(square) - double(sum) * offset});
  }
  return moments;
}

/// Stores them in `target` [2][columns] once all threads have read the tile's sums, whose memory
/// they pass through.
template <class Tile>
__device__ void store_moments(Moments moments, float* sums, double* target, int64_t columns,
                              int32_t count) {
  constexpr int kParts = kTileThreads / Tile::kN;
  Moments* shared = reinterpret_cast<Moments*>(sums);
  __syncthreads();
  shared[threadIdx.x] = moments;
  __syncthreads();
  const int column = static_cast<int>(threadIdx.x);
  if (column >= Tile::kN || column >= count) return;
#pragma unroll
  for (int part = 1; part < kParts; ++part) moments.join(shared[part * Tile::kN + column]);
  target[column] = moments.mean;
  target[columns + column] = moments.m2;
}

template <class Tile, int kVectorBytes>
__global__ void __launch_bounds__(kTileThreads, kResidentBlocks<Tile>)
    gather_kernel(GatherArgs<typename Tile::Element> args) {
  using T = typename Tile::Element;
  const GatherShape& shape = args.shape;
  const GatherBlock block = gather_block(shape, static_cast<int32_t>(blockIdx.x));
  const PhaseTaps<int32_t> row_taps = phase_taps(shape.rows, block.row_phase);
  const PhaseTaps<int32_t> column_taps = phase_taps(shape.columns, block.column_phase);

  constexpr int kVectors = kSliceBytes / kVectorBytes;
  const int32_t vectors = row_taps.count * column_taps.count * shape.vectors;
  const int32_t slices = (vectors + kVectors - 1) / kVectors;
  const auto splits = static_cast<int32_t>(shape.by_splits.divisor);
  const int32_t first_slice = split_point(slices, splits, block.split);
  const int32_t last_slice = split_point(slices, splits, block.split + 1);
  GatherLoader<Tile, kVectorBytes> loader(args, block, row_taps, column_taps, first_slice);
  float* sums = sum_slices<Tile>(loader, last_slice - first_slice);

  constexpr int kItems = 16 / sizeof(T), kRowVectors = Tile::kN / kItems;
  Epilogue<T> epilogue = args.epilogue;
  const int64_t columns = int64_t{shape.groups} * shape.filters;
  if (epilogue.partial != nullptr) {
    epilogue.partial +=
        int64_t{block.split} * shape.images * shape.rows.result * shape.columns.result * columns;
  }
  const int32_t pixels = shape.pixels();
  Moments moments = {};
  if (epilogue.moments != nullptr) {
    moments = tile_moments<Tile>(sums, pixels - block.tile_m * Tile::kM);
  }
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kM * kRowVectors; i += kTileThreads) {
    const int32_t m = block.tile_m * Tile::kM + i / kRowVectors;
    const int32_t filter = block.tile_n * Tile::kN + i % kRowVectors * kItems;
    if (m >= pixels || filter >= shape.filters) continue;
    const Pixel pixel = pixel_at(m, shape.by_phase_rows, shape.by_phase_columns);
    const int32_t row = block.row_phase + pixel.row * shape.rows.phases;
    const int32_t column = block.column_phase + pixel.column * shape.columns.phases;
    if (row >= shape.rows.result || column >= shape.columns.result) continue;
    const int64_t y =
        (int64_t{pixel.image} * shape.rows.result + row) * shape.columns.result + column;
    const int32_t result = block.group * shape.filters + filter;
    store_results(epilogue, sums + i / kRowVectors * kSumPitch<Tile> + i % kRowVectors * kItems,
                  y * columns + result, result, shape.filters - filter);
  }
  if (epilogue.moments != nullptr) {
    const int32_t filter = block.tile_n * Tile::kN;
    store_moments<Tile>(
        moments, sums,
        epilogue.moments + block.tile_m * 2 * columns + block.group * shape.filters + filter,
        columns, shape.filters - filter);
  }
}

template <class Tile, int kVectorBytes>
void launch_gather(const GatherArgs<typename Tile::Element>& args, Stream stream) {
  launch("conv2d", gather_kernel<Tile, kVectorBytes>,
         dim3(static_cast<unsigned>(gather_blocks(args.shape))), dim3(kTileThreads),
         kSharedBytes<Tile>, stream, args);
}

}  // namespace
}  // namespace striate::cuda
