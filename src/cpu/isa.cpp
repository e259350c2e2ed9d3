// Choice of the instruction set.
#include "cpu/isa.h"

#include <cstdlib>
#include <string_view>

#include "striate/error.h"
#include "striate/runtime.h"

namespace striate::cpu {
namespace {

struct Choice {
  Isa isa;
  bool available;
};

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

#define STRIATE_ISA_TABLE(set)                                                                     \
  constexpr RowKernels<float> set##_float{set::element_float, set::column_float, set::pool_float}; \
  constexpr RowKernels<double> set##_double{set::element_double, set::column_double,               \
                                            set::pool_double};                                     \
  constexpr RowKernels<BFloat16> set##_bfloat16{set::element_bfloat16, set::column_bfloat16,       \
                                                set::pool_bfloat16};                               \
  Isa set##_isa() {                                                                                \
    return {#set,                                                                                  \
            peak_kernels_##set(),                                                                  \
            set::random,                                                                           \
            set::convert,                                                                          \
            {&gemm_kernels_##set##_float(), &gemm_kernels_##set##_double(), nullptr},              \
            {&planar_kernels_##set##_float(), &planar_kernels_##set##_double(), nullptr},          \
            {&winograd_kernels_##set##_float(), &winograd_kernels_##set##_double(),                \
             &winograd_kernels_##set##_bfloat16()},                                                \
            {&set##_float, &set##_double, &set##_bfloat16}};                                       \
  }
STRIATE_ISA_TABLE(baseline)
STRIATE_ISA_TABLE(avx2)
STRIATE_ISA_TABLE(avx512)
#undef STRIATE_ISA_TABLE

Isa avx512_with_pairs() {
  Isa isa = avx512_isa();
  if (__builtin_cpu_supports("avx512bf16"))
    std::get<2>(isa.gemm_tables) = &gemm_kernels_avx512_bfloat16();
  return isa;
}

Isa choose() {
  const Choice choices[] = {
      {avx512_with_pairs(), has_avx512()}, {avx2_isa(), has_avx2()}, {baseline_isa(), true}};
  const char* variable = std::getenv("STRIATE_CPU_ISA");
  const std::string_view forced = variable == nullptr ? "" : variable;
  for (const Choice& choice : choices) {
    if (forced.empty() ? choice.available : forced == choice.isa.name) {
      require<ArgumentError>(choice.available, "STRIATE_CPU_ISA: this processor has no ", forced);
      return choice.isa;
    }
  }
  fail<ArgumentError>("STRIATE_CPU_ISA: expected baseline, avx2 or avx512, got '", forced, "'");
}

}  // namespace

const Isa& isa() {
  static const Isa chosen = choose();
  return chosen;
}

}  // namespace striate::cpu

namespace striate {

const char* cpu_isa() { return cpu::isa().name; }

}  // namespace striate
