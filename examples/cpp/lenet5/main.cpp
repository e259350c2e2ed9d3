// Trains LeNet-5 on MNIST, or on any data set in its files' format, from C++ alone:
//
//   lenet5 DIRECTORY
//
// The network is LeCun et al., "Gradient-based learning applied to document recognition" (1998), in
// today's form: ReLU, max pooling, cross-entropy. 61,706 parameters.
#include <striate/striate.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "idx.h"

namespace st = striate;

/// A weight and a bias: all that a convolution or a linear layer has to learn.
struct Layer {
  /// He et al. 2015: variance 2 / fan_in keeps the signal's scale through ReLUs.
  explicit Layer(const st::Dims& shape)
      : weight(st::empty(shape)), bias(st::zeros({shape[0]}, {.requires_grad = true})) {
    const double fan_in = static_cast<double>(weight.numel() / shape[0]);
    const double bound = std::sqrt(6 / fan_in);
    st::uniform_(weight, -bound, bound);
    weight.set_requires_grad(true);
  }
  st::Tensor weight, bias;
};

struct LeNet5 {
  Layer conv1{{6, 1, 5, 5}}, conv2{{16, 6, 5, 5}};
  Layer linear1{{120, 400}}, linear2{{84, 120}}, linear3{{10, 84}};

  /// (N, 1, 32, 32) -> scores of ten classes (N, 10)
  st::Tensor operator()(st::Tensor x) const {
    x = st::max_pool2d(st::relu(st::conv2d(x, conv1.weight, conv1.bias)), {});  // (N, 6, 14, 14)
    x = st::max_pool2d(st::relu(st::conv2d(x, conv2.weight, conv2.bias)), {});  // (N, 16, 5, 5)
    x = st::flatten(x, 1);                                                      // (N, 400)
    x = st::relu(st::linear(x, linear1.weight, linear1.bias));                  // (N, 120)
    x = st::relu(st::linear(x, linear2.weight, linear2.bias));                  // (N, 84)
    return st::linear(x, linear3.weight, linear3.bias);
  }

  std::vector<st::Tensor> parameters() const {
    std::vector<st::Tensor> all;
    for (const Layer* layer : {&conv1, &conv2, &linear1, &linear2, &linear3}) {
      all.insert(all.end(), {layer->weight, layer->bias});
    }
    return all;
  }
};

struct Dataset {
  Dataset(const std::string& directory, const std::string& name)
      : images(read_idx(directory + "/" + name + "-images-idx3-ubyte")),
        labels(st::to(read_idx(directory + "/" + name + "-labels-idx1-ubyte"), st::DType::kInt64)) {
    if (images.dim() != 3 || images.size(1) != 28 || images.size(2) != 28 || labels.dim() != 1 ||
        labels.size(0) != images.size(0)) {
      throw std::runtime_error(directory + ": expected 28 x 28 images and one label for each");
    }
  }
  int64_t size() const { return labels.numel(); }

  st::Tensor images;  // (N, 28, 28) uint8
  st::Tensor labels;  // (N) int64
};

/// Rows `indices` of the images, normalised, with a border of two pixels: (N, 1, 32, 32).
st::Tensor batch_images(const Dataset& data, const st::Tensor& indices) {
  const st::Tensor pixels = st::to(st::index_select(data.images, 0, indices), st::DType::kFloat32);
  constexpr double kMean = 0.1307, kDeviation = 0.3081;  // of MNIST's training pixels, 0 to 1
  const st::Tensor scaled = st::div(st::sub(st::div(pixels, 255.0), kMean), kDeviation);
  return st::unsqueeze(st::pad(scaled, {2, 2, 2, 2}, -kMean / kDeviation), 1);
}

/// Percentage of images whose highest score is the label's.
double accuracy(const LeNet5& model, const Dataset& data) {
  const st::NoGrad guard;
  double correct = 0;
  for (int64_t start = 0; start < data.size(); start += 500) {
    const double stop = static_cast<double>(std::min(start + 500, data.size()));
    const st::Tensor rows =
        st::arange(static_cast<double>(start), stop, 1, {.dtype = st::DType::kInt64});
    const st::Tensor guess = st::argmax(model(batch_images(data, rows)), 1);
    const st::Tensor labels = st::index_select(data.labels, 0, rows);
    correct += st::sum(st::compare(st::Comparison::kEq, guess, labels)).item();
  }
  return 100 * correct / static_cast<double>(data.size());
}

void train(const std::string& directory) {
  constexpr int kEpochs = 5;
  constexpr int64_t kBatch = 64;
  const Dataset training(directory, "train"), test(directory, "t10k");

  st::manual_seed(0);
  const LeNet5 model;
  st::SGD optimizer(model.parameters(), {.lr = 0.02, .momentum = 0.9, .weight_decay = 5e-4});
  std::vector<int64_t> order(static_cast<size_t>(training.size()));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937 random(0);

  for (int epoch = 1; epoch <= kEpochs; ++epoch) {
    const auto begin = std::chrono::steady_clock::now();
    std::shuffle(order.begin(), order.end(), random);
    double total_loss = 0;
    for (int64_t start = 0; start < training.size(); start += kBatch) {
      const int64_t count = std::min(kBatch, training.size() - start);
      const std::span<const int64_t> chosen(order.data() + start, static_cast<size_t>(count));
      const st::Tensor rows = st::from_values(chosen, {count});

      optimizer.zero_grad();
      const st::Tensor scores = model(batch_images(training, rows));
      const st::Tensor loss = st::cross_entropy(scores, st::index_select(training.labels, 0, rows));
      loss.backward();
      optimizer.step();
      total_loss += loss.item() * static_cast<double>(count);
    }
    optimizer.options.lr *= 0.5;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const double images = static_cast<double>(training.size());
    std::printf("epoch %d of %d: loss %.4f, %.0f images/s\n", epoch, kEpochs, total_loss / images,
                images / seconds.count());
    std::fflush(stdout);
  }
  std::printf("test accuracy: %.2f %%\n", accuracy(model, test));
}

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: lenet5 DIRECTORY_OF_IDX_FILES\n");
    return 2;
  }
  try {
    train(argv[1]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lenet5: %s\n", error.what());
    return 1;
  }
}
