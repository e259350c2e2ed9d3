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

#define STRIATE_ROWS(set, type) {set::element_##type, set::column_##type, set::pool_##type}
#define STRIATE_TYPED(set, type)                                                           \
  {&set::gemm_##type, &set::planar_##type, &set::winograd_##type, STRIATE_ROWS(set, type), \
   set::normal_##type}
#define STRIATE_ISA_TABLE(set)                                                 \
  Isa set##_isa() {                                                            \
    return {#set,                                                              \
            set::peak,                                                         \
            set::convert,                                                      \
            {TypedKernels<float> STRIATE_TYPED(set, float),                    \
             TypedKernels<double> STRIATE_TYPED(set, double),                  \
             TypedKernels<BFloat16>{nullptr, nullptr, &set::winograd_bfloat16, \
                                    STRIATE_ROWS(set, bfloat16), nullptr}}};   \
  }
STRIATE_ISA_TABLE(baseline)
STRIATE_ISA_TABLE(avx2)
STRIATE_ISA_TABLE(avx512)
#undef STRIATE_ISA_TABLE
#undef STRIATE_TYPED
#undef STRIATE_ROWS

Isa best_avx512_isa() {
  const Isa isa = avx512_isa();
  if (!__builtin_cpu_supports("avx512bf16")) return isa;
  const auto& [of_float, of_double, of_bfloat16] = isa.typed;
  return {isa.name,
          isa.peak,
          isa.convert,
          {of_float, of_double,
           TypedKernels<BFloat16>{
               &avx512_bf16::gemm_bfloat16,
               nullptr,
               of_bfloat16.winograd,
               {of_bfloat16.rows.element, avx512_bf16::column_bfloat16, of_bfloat16.rows.pool},
               nullptr}},
          &avx512_bf16::winograd_pairs};
}

Isa choose() {
  const Choice choices[] = {
      {best_avx512_isa(), has_avx512()}, {avx2_isa(), has_avx2()}, {baseline_isa(), true}};
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
