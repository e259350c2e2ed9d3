#include "ops/autocast.h"

#include "ops/derived.h"

namespace striate {
namespace {

thread_local bool enabled_here = false;

bool is(const Tensor& x, DType dtype) { return x.defined() && x.dtype() == dtype; }

/// The conversion's key in a weight's cache, where packings have hashes of 64 bits.
constexpr uint64_t kConversion = 1;

/// The conversion of a leaf, off the tape. Whoever holds it also finds what was packed from it.
Tensor kept_conversion(const Tensor& weight) {
  return derived(weight, kConversion, [&] {
    const Tensor converted = to(weight, DType::kBFloat16);
    derived_cache(converted);  // created now, so that all handles share it
    return converted;
  });
}

/// The gradient of a conversion is converted back.
struct AutocastNode : Node {
  const char* name() const override { return "autocast"; }
  TensorList backward(const TensorList& grads) override {
    return {grads[0].defined() ? to(grads[0], DType::kFloat32) : Tensor()};
  }
  void release() override {}
};

}  // namespace

bool autocast_enabled() { return enabled_here; }
void set_autocast_enabled(bool enabled) { enabled_here = enabled; }

Autocast::Autocast(DType dtype, bool enabled) : previous_(enabled_here) {
  require<DTypeError>(dtype == DType::kBFloat16, "autocast: expected bfloat16, got ", dtype);
  enabled_here = enabled;
}

Tensor autocast_down(const Tensor& x) {
  return enabled_here && is(x, DType::kFloat32) ? to(x, DType::kBFloat16) : x;
}

Tensor autocast_weight(const Tensor& weight) {
  if (!enabled_here || !is(weight, DType::kFloat32)) return weight;
  if (!weight.is_leaf()) return to(weight, DType::kBFloat16);
  const Tensor converted = kept_conversion(weight).detach();
  if (needs_grad({weight})) record(std::make_shared<AutocastNode>(), {weight}, {converted});
  return converted;
}

Tensor autocast_up(const Tensor& x) {
  return enabled_here && is(x, DType::kBFloat16) ? to(x, DType::kFloat32) : x;
}

Tensor autocast_to_match(const Tensor& x, const Tensor& other) {
  return is(other, DType::kFloat32) ? autocast_up(x) : x;
}

}  // namespace striate
