// Weight gradient of bfloat16 on tensor cores.
#include "conv_weight_grad.cuh"

namespace striate::cuda {

void weight_grad_bf16(const WeightGradShape& shape, const ConvAlgorithm& algorithm,
                      int vector_bytes, const ConvOperands<__nv_bfloat16>& operands,
                      const Epilogue<__nv_bfloat16>& epilogue, Stream stream) {
  const WeightGradArgs<__nv_bfloat16> args{shape, operands, epilogue};
  if (vector_bytes == 8) {
    return launch_weight_grad<TensorCoreTile<Bf16Mma, 64, 64, true>, 8>(args, stream);
  }
  switch (algorithm.tile) {
    case 0:
      return launch_weight_grad<TensorCoreTile<Bf16Mma, 128, 128, true>, 16>(args, stream);
    case 1:
      return launch_weight_grad<TensorCoreTile<Bf16Mma, 128, 64, true>, 16>(args, stream);
    default:
      return launch_weight_grad<TensorCoreTile<Bf16Mma, 64, 64, true>, 16>(args, stream);
  }
}

}  // namespace striate::cuda
