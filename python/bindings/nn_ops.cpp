// The functions of layers, under PyTorch's names and signatures.
#include "bindings.h"

namespace striate::python {
namespace {

void bind_convolutions(py::module_& m) {
  m.def(
      "conv1d",
      [](const Tensor& input, const Tensor& weight, MaybeTensor bias, int64_t stride,
         int64_t padding, int64_t dilation, int64_t groups) {
        return conv1d(input, weight, bias, {stride, padding, dilation, groups});
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1, Unlocked(),
      "1-D cross-correlation: input (N, C, L), weight (O, C/groups, k), bias (O).\n\n"
      "Result (N, O, (L + 2 padding - dilation (k-1) - 1) // stride + 1). float32 or float64; "
      "raises ShapeError where sizes do not fit.");
  m.def(
      "conv2d",
      [](const Tensor& input, const Tensor& weight, MaybeTensor bias, Size2 stride, Size2 padding,
         Size2 dilation, int64_t groups) {
        return conv2d(input, weight, bias, {stride, padding, dilation, groups});
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1, Unlocked(),
      "2-D cross-correlation: input (N, C, H, W), weight (O, C/groups, kh, kw), bias (O).\n\n"
      "Result (N, O, OH, OW) with OH = (H + 2 padding - dilation (kh-1) - 1) // stride + 1, stored "
      "channels-last. Sizes are one number or (height, width). Raises ShapeError where sizes do "
      "not fit.\n\n"
      "A NaN or infinity in the input reaches the results that read it; on the CPU also others, by "
      "Winograd's algorithm (config.winograd) those of the same tile.");
  m.def(
      "conv2d_fused",
      [](const Tensor& input, const Tensor& weight, MaybeTensor bias, Size2 stride, Size2 padding,
         Size2 dilation, int64_t groups, MaybeTensor residual, bool relu) {
        return conv2d_fused(input, weight, bias, {stride, padding, dilation, groups}, residual,
                            relu);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("groups") = 1,
      py::arg("residual") = py::none(), py::arg("relu") = false, Unlocked(),
      "conv2d, plus residual (of the result's shape), then relu, in one pass over memory.\n\n"
      "For inference: raises ArgumentError where a gradient would have to be recorded.");
  m.def(
      "conv2d_algorithms",
      [](const Tensor& input, const Tensor& weight, Size2 stride, Size2 padding, Size2 dilation,
         int64_t groups) {
        const auto [forward, input_grad, weight_grad] =
            conv2d_algorithms(input, weight, {stride, padding, dilation, groups});
        py::typing::Dict<py::str, py::str> result;
        result["forward"] = forward;
        result["input_grad"] = input_grad;
        result["weight_grad"] = weight_grad;
        return result;
      },
      py::arg("input"), py::arg("weight"), py::arg("stride") = 1, py::arg("padding") = 0,
      py::arg("dilation") = 1, py::arg("groups") = 1,
      "The algorithms that conv2d takes for operands of these shapes, as in 'direct' or "
      "'winograd4', by pass: 'forward', 'input_grad', 'weight_grad'.");
  m.def(
      "conv_transpose2d",
      [](const Tensor& input, const Tensor& weight, MaybeTensor bias, Size2 stride, Size2 padding,
         Size2 output_padding, int64_t groups, Size2 dilation) {
        return conv_transpose2d(input, weight, bias,
                                {stride, padding, output_padding, groups, dilation});
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), py::arg("stride") = 1,
      py::arg("padding") = 0, py::arg("output_padding") = 0, py::arg("groups") = 1,
      py::arg("dilation") = 1, Unlocked(),
      "The adjoint of conv2d: input (N, C, H, W), weight (C, O/groups, kh, kw), bias (O).\n\n"
      "Result (N, O, OH, OW) with OH = (H-1) stride - 2 padding + dilation (kh-1) + "
      "output_padding + 1.");
  m.def(
      "linear",
      [](const Tensor& input, const Tensor& weight, MaybeTensor bias) {
        return linear(input, weight, bias);
      },
      py::arg("input"), py::arg("weight"), py::arg("bias") = py::none(), Unlocked(),
      "input (..., in) times the transpose of weight (out, in), plus bias (out).");
}

void bind_pooling(py::module_& m) {
  m.def(
      "max_pool1d",
      [](const Tensor& input, int64_t kernel_size, std::optional<int64_t> stride, int64_t padding,
         int64_t dilation, bool ceil_mode, bool relu) {
        return max_pool1d(input, {.kernel = {1, kernel_size},
                                  .stride = Size2{1, stride.value_or(kernel_size)},
                                  .padding = {0, padding},
                                  .dilation = {1, dilation},
                                  .ceil_mode = ceil_mode,
                                  .relu = relu});
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("ceil_mode") = false,
      py::arg("relu") = false, Unlocked(),
      "Largest element of each window of input (N, C, L), or of relu(input). ``stride`` defaults "
      "to the kernel.");
  m.def(
      "max_pool2d",
      [](const Tensor& input, Size2 kernel_size, std::optional<Size2> stride, Size2 padding,
         Size2 dilation, bool ceil_mode, bool relu) {
        return max_pool2d(input, {.kernel = kernel_size,
                                  .stride = stride,
                                  .padding = padding,
                                  .dilation = dilation,
                                  .ceil_mode = ceil_mode,
                                  .relu = relu});
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = 0, py::arg("dilation") = 1, py::arg("ceil_mode") = false,
      py::arg("relu") = false, Unlocked(),
      "Largest element of each window of input (N, C, H, W), stored channels-last.\n\n"
      "``stride`` defaults to the kernel. NaN propagates, ties go to the first element, the "
      "padding is minus infinity. With ``relu`` the result and the gradient are those of "
      "``max_pool2d(relu(input), ...)``, in one pass. Raises ShapeError if padding > kernel / 2.");
  m.def(
      "avg_pool2d",
      [](const Tensor& input, Size2 kernel_size, std::optional<Size2> stride, Size2 padding,
         bool ceil_mode, bool count_include_pad) {
        return avg_pool2d(input, {.kernel = kernel_size,
                                  .stride = stride,
                                  .padding = padding,
                                  .ceil_mode = ceil_mode,
                                  .count_include_pad = count_include_pad});
      },
      py::arg("input"), py::arg("kernel_size"), py::arg("stride") = py::none(),
      py::arg("padding") = 0, py::arg("ceil_mode") = false, py::arg("count_include_pad") = true,
      Unlocked(),
      "Mean of each window of input (N, C, H, W), stored channels-last. ``stride`` defaults to the "
      "kernel; ``count_include_pad`` counts the zeros of the padding.");
  m.def("adaptive_avg_pool2d", &adaptive_avg_pool2d, py::arg("input"), py::arg("output_size"),
        Unlocked(),
        "Means of windows of input (N, C, H, W) such that the result is (N, C, *output_size): "
        "window i covers floor(i H / OH) to ceil((i+1) H / OH).");
}

void bind_normalisation(py::module_& m) {
  m.def(
      "batch_norm",
      [](const Tensor& input, MaybeTensor running_mean, MaybeTensor running_var, MaybeTensor weight,
         MaybeTensor bias, bool training, double momentum, double eps, MaybeTensor residual,
         bool relu) {
        return batch_norm(input, running_mean, running_var, weight, bias,
                          {training, momentum, eps, relu}, residual);
      },
      py::arg("input"), py::arg("running_mean"), py::arg("running_var"),
      py::arg("weight") = py::none(), py::arg("bias") = py::none(), py::arg("training") = false,
      py::arg("momentum") = 0.1, py::arg("eps") = 1e-5, py::arg("residual") = py::none(),
      py::arg("relu") = false, Unlocked(),
      "(x - mean) / sqrt(var + eps) * weight + bias per channel (dimension 1) of input (N, C), "
      "(N, C, L) or (N, C, H, W).\n\n"
      "Training uses the batch's mean and biased variance and moves the running statistics (with "
      "the unbiased variance) by ``momentum``; it raises ShapeError when a channel has a single "
      "value. ``residual``, of the input's shape, is added to the result, and ``relu`` applied, in "
      "the same pass over memory. (Ioffe and Szegedy 2015.)");
  m.def("local_response_norm", &local_response_norm, py::arg("input"), py::arg("size"),
        py::arg("alpha") = 1e-4, py::arg("beta") = 0.75, py::arg("k") = 1.0, Unlocked(),
        "x / (k + alpha / size * sum of x^2 over ``size`` neighbouring channels)^beta. "
        "(Krizhevsky et al. 2012, section 3.3.)");
  m.def("dropout", &dropout, py::arg("input"), py::arg("p") = 0.5, py::arg("training") = true,
        Unlocked(),
        "While training, zeroes each element with probability p and scales the rest by 1/(1-p). "
        "Raises ArgumentError unless 0 <= p <= 1. (Srivastava et al. 2014.)");
  m.def("softmax", &softmax, py::arg("input"), py::arg("dim"), Unlocked(),
        "exp(x) over its sum along ``dim``.");
  m.def("log_softmax", &log_softmax, py::arg("input"), py::arg("dim"), Unlocked(),
        "Logarithm of softmax along ``dim``, computed stably.");
}

}  // namespace

void bind_nn_ops(py::module_& m) {
  bind_convolutions(m);
  bind_pooling(m);
  bind_normalisation(m);
}

}  // namespace striate::python
