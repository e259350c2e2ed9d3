// Winograd transforms between images of each type and products of floating-point sums, compiled
// once per instruction set.
#include "cpu/isa/tables.h"
#include "cpu/isa/winograd_transforms.h"

namespace striate::cpu {
namespace {

template <class T>
constexpr WinogradKernels<T, Compute<T>> make_kernels() {
  using Operands = Plain<Compute<T>>;
  return {kLanes<T>,
          make_transforms<T, Operands, 4, 3>(),
          {},
          make_transforms<T, Operands, 6, 3>(),
          make_transforms<T, Operands, 6, 5>()};
}

}  // namespace

namespace STRIATE_ISA {
constexpr WinogradKernels<float, float> winograd_float = make_kernels<float>();
constexpr WinogradKernels<double, double> winograd_double = make_kernels<double>();
constexpr WinogradKernels<BFloat16, float> winograd_bfloat16 = make_kernels<BFloat16>();
}  // namespace STRIATE_ISA

}  // namespace striate::cpu
