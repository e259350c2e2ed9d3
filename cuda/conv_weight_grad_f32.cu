// Weight gradient of float32: exact on CUDA cores, or TF32 on tensor cores.
#include "conv_weight_grad.cuh"

namespace striate::cuda {

void weight_grad_f32(const WeightGradShape& shape, const ConvAlgorithm& algorithm,
                     const ConvOperands<float>& operands, const Epilogue<float>& epilogue,
                     Stream stream) {
  const WeightGradArgs<float> args{shape, operands, epilogue};
  if (algorithm.kernel == ConvKernel::kCudaCores) {
    return algorithm.tile == 1 ? launch_weight_grad<CudaCoreTile<128, 64, true>, 16>(args, stream)
                               : launch_weight_grad<CudaCoreTile<64, 64, true>, 16>(args, stream);
  }
  return algorithm.tile == 1
             ? launch_weight_grad<TensorCoreTile<Tf32Mma, 128, 64, true>, 16>(args, stream)
             : launch_weight_grad<TensorCoreTile<Tf32Mma, 64, 64, true>, 16>(args, stream);
}

}  // namespace striate::cuda
