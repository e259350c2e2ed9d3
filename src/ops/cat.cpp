#include "ops/autocast.h"
#include "ops/common.h"

namespace striate {
namespace {

struct CatNode : Node {
  int dim = 0;
  std::vector<int64_t> sizes;  // of the parts, along dim

  const char* name() const override { return "cat"; }
  TensorList backward(const TensorList& grads) override {
    TensorList result(sizes.size());
    int64_t begin = 0;
    for (size_t i = 0; i < sizes.size(); begin += sizes[i++]) {
      if (grads[0].defined() && needs_input(static_cast<int>(i))) {
        result[i] = slice(grads[0], dim, begin, begin + sizes[i]);
      }
    }
    return result;
  }
  void release() override {}
};

}  // namespace

Tensor cat(const std::vector<Tensor>& given, int dim) {
  require<ArgumentError>(!given.empty(), "cat: expected at least one tensor, got none");
  for (const Tensor& part : given) check_defined("cat", "each part", part);
  std::vector<Tensor> parts = given;
  for (const Tensor& other : given)
    for (Tensor& part : parts) part = autocast_to_match(part, other);
  const Tensor& first = parts[0];
  const int at = wrap_dim("cat", dim, first.dim());
  Dims shape = first.shape();
  shape[at] = 0;
  bool all_channels_last = true;
  for (const Tensor& part : parts) {
    check_same("cat", "the first part", first, "each part", part);
    bool fits = part.dim() == first.dim();
    for (int d = 0; fits && d < first.dim(); ++d) {
      fits = d == at || part.shape()[d] == first.shape()[d];
    }
    require<ShapeError>(fits, "cat: expected parts that differ from ", first.shape(),
                        " in dimension ", at, " only, got ", part.shape());
    shape[at] = checked_add(shape[at], part.shape()[at], "cat");
    all_channels_last = all_channels_last && part.is_contiguous(MemoryFormat::kChannelsLast);
  }
  const Tensor y =
      empty(shape, options_of(first),
            all_channels_last ? MemoryFormat::kChannelsLast : MemoryFormat::kContiguous);
  {
    NoGrad guard;
    int64_t begin = 0;
    for (const Tensor& part : parts) {
      copy_into(part, slice(y, at, begin, begin + part.shape()[at]));
      begin += part.shape()[at];
    }
  }
  if (needs_grad(parts)) {
    auto node = std::make_shared<CatNode>();
    node->dim = at;
    for (const Tensor& part : parts) node->sizes.push_back(part.shape()[at]);
    record(node, parts, {y});
  }
  return y;
}

}  // namespace striate
