// Weight gradient as an implicit matrix product: rows are filters, columns (tap, channel), and the
// reduction runs over the pixels of grad_y. A pixel's filters, and its channels at a tap, are
// contiguous in memory, so both operands lie pixel by pixel in shared memory.
#pragma once

#include "conv_kernels.cuh"
#include "conv_tile.cuh"

namespace striate::cuda {
namespace {

template <class T>
struct WeightGradArgs {
  WeightGradShape shape;
  ConvOperands<T> operands;  // x, grad_y
  Epilogue<T> epilogue;
};

/// Requests slices of both operands. A thread copies the same vector of all its pixels, so that tap
/// and channel are found once.
template <class Tile, int kVectorBytes>
struct WeightGradLoader {
  using T = typename Tile::Element;
  static constexpr int kPixels = kSliceBytes / sizeof(T);      // of a slice
  static constexpr int kVectorsM = Tile::kM * sizeof(T) / 16;  // of a pixel
  static constexpr int kVectorsN = Tile::kN * sizeof(T) / kVectorBytes;
  static constexpr int kStepM = kTileThreads / kVectorsM, kStepN = kTileThreads / kVectorsN;
  static_assert(kStepM % 4 == 0 && kStepN % 4 == 0);

  const WeightGradShape& shape;
  const unsigned char* source;
  const unsigned char* grad;
  int32_t pixel;                      // first of the next slice
  int32_t grad_vector;                // of a pixel of grad_y; -1: past the filters
  int32_t source_vector;              // of a pixel of x; -1: past the columns
  int32_t row_offset, column_offset;  // of the tap

  __device__ WeightGradLoader(const WeightGradArgs<T>& args, const WeightGradBlock& block,
                              int32_t first_pixel)
      : shape(args.shape),
        source(reinterpret_cast<const unsigned char*>(args.operands.source)),
        grad(reinterpret_cast<const unsigned char*>(args.operands.other)),
        pixel(first_pixel) {
    const int32_t row = block.tile_m * kVectorsM + static_cast<int>(threadIdx.x) % kVectorsM;
    grad_vector = row < shape.grad_vectors ? block.group * shape.grad_vectors + row : -1;
    int32_t tap = block.tile_n * kVectorsN + static_cast<int>(threadIdx.x) % kVectorsN;
    const int32_t vector = split_off(tap, shape.by_vectors);
    source_vector = tap < shape.taps ? block.group * shape.vectors + vector : -1;
    row_offset = tap / shape.kernel_columns * shape.dilation_h - shape.pad_h;
    column_offset = tap % shape.kernel_columns * shape.dilation_w - shape.pad_w;
  }

  __device__ void load(unsigned char* a, unsigned char* b) {
    const int vector_m = static_cast<int>(threadIdx.x) % kVectorsM;
    const int first_m = static_cast<int>(threadIdx.x) / kVectorsM;
#pragma unroll
    for (int i = 0; i < kPixels / kStepM; ++i) {
      const int at = first_m + i * kStepM;
      const bool inside = pixel + at < shape.pixels && grad_vector >= 0;
      const int64_t vector =
          inside ? (pixel + at) * (shape.grad_vectors * shape.groups) + grad_vector : 0;
      copy_vector<16>(a + pixel_chunk(at, vector_m, Tile::kM, sizeof(T)), grad + vector * 16,
                      inside);
    }
    const int vector_n = static_cast<int>(threadIdx.x) % kVectorsN;
    const int first_n = static_cast<int>(threadIdx.x) / kVectorsN;
    const int byte = vector_n * kVectorBytes;
#pragma unroll
    for (int i = 0; i < kPixels / kStepN; ++i) {
      const int at = first_n + i * kStepN;
      const Pixel y = pixel_at(pixel + at, shape.by_rows, shape.by_columns);
      const int32_t row = y.row * shape.stride_h + row_offset;
      const int32_t column = y.column * shape.stride_w + column_offset;
      const bool inside =
          pixel + at < shape.pixels && source_vector >= 0 &&
          static_cast<uint32_t>(row) < static_cast<uint32_t>(shape.source_rows) &&
          static_cast<uint32_t>(column) < static_cast<uint32_t>(shape.source_columns);
      const int64_t vector =
          inside ? ((y.image * shape.source_rows + row) * shape.source_columns + column) *
                           (shape.vectors * shape.groups) +
                       source_vector
                 : 0;
      copy_vector<kVectorBytes>(b + pixel_chunk(at, byte / 16, Tile::kN, sizeof(T)) + byte % 16,
                                source + vector * kVectorBytes, inside);
    }
    pixel += kPixels;
  }
};

template <class Tile, int kVectorBytes>
__global__ void __launch_bounds__(kTileThreads, kResidentBlocks<Tile>)
    weight_grad_kernel(WeightGradArgs<typename Tile::Element> args) {
  using T = typename Tile::Element;
  using Loader = WeightGradLoader<Tile, kVectorBytes>;
  const WeightGradShape& shape = args.shape;
  const WeightGradBlock block = weight_grad_block(shape, static_cast<int32_t>(blockIdx.x));
  const int32_t slices = (shape.pixels + Loader::kPixels - 1) / Loader::kPixels;
  const auto splits = static_cast<int32_t>(shape.by_splits.divisor);
  const int32_t first_slice = split_point(slices, splits, block.split);
  const int32_t last_slice = split_point(slices, splits, block.split + 1);
  Loader loader(args, block, first_slice * Loader::kPixels);
  const float* sums = sum_slices<Tile>(loader, last_slice - first_slice);

  constexpr int kItems = kVectorBytes / sizeof(T);
  const int64_t filter_size = int64_t{shape.taps} * shape.channels;
  const int64_t size = filter_size * shape.filters * shape.groups;
  for (int i = static_cast<int>(threadIdx.x); i < Tile::kM * Tile::kN; i += kTileThreads) {
    const int32_t filter = block.tile_m * Tile::kM + i / Tile::kN;
    const int32_t column = block.tile_n * Tile::kN + i % Tile::kN;
    int32_t tap = column / kItems;
    const int32_t channel = split_off(tap, shape.by_vectors) * kItems + column % kItems;
    if (filter >= shape.filters || tap >= shape.taps || channel >= shape.channels) continue;
    const int64_t offset = (int64_t{block.group} * shape.filters + filter) * filter_size +
                           int64_t{tap} * shape.channels + channel;
    const float sum = sums[i / Tile::kN * kSumPitch<Tile> + i % Tile::kN];
    if (args.epilogue.partial != nullptr) {
      args.epilogue.partial[block.split * size + offset] = sum;
    } else {
      args.epilogue.y[offset] = convert<T>(sum);
    }
  }
}

template <class Tile, int kVectorBytes>
void launch_weight_grad(const WeightGradArgs<typename Tile::Element>& args, Stream stream) {
  launch("conv2d_weight_grad", weight_grad_kernel<Tile, kVectorBytes>,
         dim3(static_cast<unsigned>(weight_grad_blocks(args.shape))), dim3(kTileThreads),
         kSharedBytes<Tile>, stream, args);
}

}  // namespace
}  // namespace striate::cuda
