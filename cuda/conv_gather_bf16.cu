// Forward pass and input gradient of bfloat16 on tensor cores.
#include "conv_gather.cuh"

namespace striate::cuda {

void gather_bf16(const GatherShape& shape, const ConvAlgorithm& algorithm, int vector_bytes,
                 const ConvOperands<__nv_bfloat16>& operands,
                 const Epilogue<__nv_bfloat16>& epilogue, Stream stream) {
  const GatherArgs<__nv_bfloat16> args{shape, operands, epilogue};
  if (vector_bytes == 8) {
    return launch_gather<TensorCoreTile<Bf16Mma, 128, 64, false>, 8>(args, stream);
  }
  switch (algorithm.tile) {
    case 0:
      return launch_gather<TensorCoreTile<Bf16Mma, 128, 128, false>, 16>(args, stream);
    case 1:
      return launch_gather<TensorCoreTile<Bf16Mma, 128, 64, false>, 16>(args, stream);
    case kNarrowTile:
      return launch_gather<TensorCoreTile<Bf16Mma, 128, 32, false>, 16>(args, stream);
    default:
      return launch_gather<TensorCoreTile<Bf16Mma, 64, 64, false>, 16>(args, stream);
  }
}

}  // namespace striate::cuda
