// Forward pass and input gradient of float32: exact on CUDA cores, or TF32 on tensor cores.
#include "conv_gather.cuh"

namespace striate::cuda {

void gather_f32(const GatherShape& shape, const ConvAlgorithm& algorithm,
                const ConvOperands<float>& operands, const Epilogue<float>& epilogue,
                Stream stream) {
  const GatherArgs<float> args{shape, operands, epilogue};
  if (algorithm.kernel == ConvKernel::kCudaCores) {
    switch (algorithm.tile) {
      case 1:
        return launch_gather<CudaCoreTile<128, 64, false>, 16>(args, stream);
      case kNarrowTile:
        return launch_gather<CudaCoreTile<128, 32, false>, 16>(args, stream);
      default:
        return launch_gather<CudaCoreTile<64, 64, false>, 16>(args, stream);
    }
  }
  switch (algorithm.tile) {
    case 0:
      return launch_gather<TensorCoreTile<Tf32Mma, 128, 128, false>, 16>(args, stream);
    case 1:
      return launch_gather<TensorCoreTile<Tf32Mma, 128, 64, false>, 16>(args, stream);
    case kNarrowTile:
      return launch_gather<TensorCoreTile<Tf32Mma, 128, 32, false>, 16>(args, stream);
    default:
      return launch_gather<TensorCoreTile<Tf32Mma, 64, 64, false>, 16>(args, stream);
  }
}

}  // namespace striate::cuda
