// Value types, tensors, storage, the allocator and the random generator.
#include <doctest/doctest.h>

#include <cmath>
#include <sstream>
#include <vector>

#include "core/philox.h"
#include "core/tensor_impl.h"
#include "cpu/kernels.h"
#include "striate/striate.h"

namespace st = striate;
using st::Device;
using st::Dims;
using st::DType;
using st::MemoryFormat;
using st::Tensor;

namespace {

template <class T>
std::string text(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

Tensor floats(std::vector<float> values, const Dims& shape) {
  return st::from_values(std::span<const float>(values), shape);
}

constexpr DType kAllTypes[] = {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64,
                               DType::kInt32,   DType::kUInt8,   DType::kBool};
constexpr int64_t kHuge = int64_t{1} << 40;

}  // namespace

TEST_CASE("types print and parse") {
  for (DType dtype : kAllTypes) CHECK(st::parse_dtype(st::name(dtype)) == dtype);
  CHECK(st::item_size(DType::kBFloat16) == 2);
  CHECK_THROWS_WITH_AS(st::parse_dtype("float16"), doctest::Contains("float16"), st::DTypeError);
  CHECK(text(Dims{}) == "()");
  CHECK(text(Dims{3}) == "(3,)");
  CHECK(text(Dims{64, 3, 32, 32}) == "(64, 3, 32, 32)");
  CHECK(text(st::Size2(2, 3)) == "(2, 3)");
  CHECK_THROWS_AS(Dims::filled(9, 1), st::ShapeError);
}

TEST_CASE("devices parse strictly") {
  CHECK(Device::parse("cpu") == Device{});
  CHECK(Device::parse("cuda:12") == Device{st::DeviceType::kCUDA, 12});
  CHECK(Device::parse(Device::parse("cuda").str()) == Device{st::DeviceType::kCUDA, 0});
  for (const char* bad : {"", "CPU", "cpu:0", "cuda:", "cuda:-1", "cuda:1x", "cuda:99999999999"}) {
    CHECK_THROWS_AS(Device::parse(bad), st::DeviceError);
  }
}

TEST_CASE("sizes are checked") {
  CHECK(st::checked_mul(3, 4, "x") == 12);
  CHECK_THROWS_AS(st::checked_mul(kHuge, kHuge, "x"), st::ShapeError);
  CHECK_THROWS_AS(st::checked_add(INT64_MAX, 1, "x"), st::ShapeError);
  CHECK(st::checked_numel({}, "x") == 1);
  CHECK(st::checked_numel({3, 0, 5}, "x") == 0);
  CHECK_THROWS_WITH_AS(st::checked_numel({2, -1}, "zeros"),
                       "zeros: expected sizes >= 0, got shape (2, -1)", st::ShapeError);
  CHECK_THROWS_AS(st::checked_numel({kHuge, kHuge, 0}, "x"), st::ShapeError);
}

TEST_CASE("devices that are not there") {
  CHECK(st::device_count(st::DeviceType::kCPU) == 1);
  CHECK(st::device_unavailable_reason(st::DeviceType::kCPU).empty());
  CHECK_THROWS_AS(st::empty({1}, {.device = {st::DeviceType::kCPU, 1}}), st::DeviceError);
  CHECK_THROWS_AS(st::empty({1}, {.device = {st::DeviceType::kCUDA, -1}}), st::DeviceError);
  const int count = st::device_count(st::DeviceType::kCUDA);
  CHECK((count == 0) == !st::device_unavailable_reason(st::DeviceType::kCUDA).empty());
  CHECK_THROWS_AS(st::empty({1}, {.device = {st::DeviceType::kCUDA, count}}), st::DeviceError);
}

TEST_CASE("the build describes itself") {
  CHECK(st::build_info().find(st::version()) != std::string::npos);
  CHECK(st::build_info().find("backends: cpu") != std::string::npos);
}

TEST_CASE("memory orders") {
  const Tensor row = st::empty({2, 3, 4, 5});
  CHECK(row.strides() == Dims{60, 20, 5, 1});
  CHECK(row.is_contiguous());
  CHECK_FALSE(row.is_contiguous(MemoryFormat::kChannelsLast));
  const Tensor last = st::empty({2, 3, 4, 5}, {}, MemoryFormat::kChannelsLast);
  CHECK(last.strides() == Dims{60, 1, 15, 3});
  CHECK(last.is_contiguous(MemoryFormat::kChannelsLast));
  CHECK(last.is_dense());
  CHECK(st::empty_like(last, DType::kUInt8).strides() == last.strides());
  // One channel: both orders are the same block.
  CHECK(st::empty({2, 1, 4, 5}).is_contiguous(MemoryFormat::kChannelsLast));
  CHECK_THROWS_AS(st::empty({2, 3}, {}, MemoryFormat::kChannelsLast), st::ShapeError);

  const Tensor gap = st::view(row, {2, 3}, {60, 5}, 0);
  CHECK_FALSE(gap.is_dense());
  CHECK(st::empty_like(gap).strides() == Dims{3, 1});
  CHECK_FALSE(st::view(row, {2, 3}, {0, 1}, 0).is_dense());
  CHECK(st::view(row, {5, 4}, {1, 5}, 0).is_dense());
}

TEST_CASE("empty tensors are tensors") {
  const Tensor x = st::empty({0, 3, 8, 8}, {}, MemoryFormat::kChannelsLast);
  CHECK(x.numel() == 0);
  CHECK(x.is_dense());
  CHECK(x.is_contiguous());
  CHECK_THROWS_AS(x.item(), st::ShapeError);
  CHECK(st::zeros({0}).numel() == 0);
  CHECK(st::randn({0, 2}).shape() == Dims{0, 2});
}

TEST_CASE("undefined tensors are refused, not followed") {
  const Tensor none;
  CHECK_THROWS_AS(none.shape(), st::ArgumentError);
  CHECK_THROWS_AS(none.item(), st::ArgumentError);
  CHECK_THROWS_AS(none.backward(), st::ArgumentError);
  CHECK_THROWS_AS(none.grad(), st::ArgumentError);
}

TEST_CASE("item of every type") {
  for (DType dtype : kAllTypes) {
    const Tensor x = st::full({1, 1}, 1, {.dtype = dtype});
    CHECK(x.item() == 1);
  }
  CHECK(st::full({}, -2.5, {.dtype = DType::kBFloat16}).item() == -2.5);
  CHECK(std::isnan(st::full({}, NAN, {.dtype = DType::kBFloat16}).item()));
  CHECK_THROWS_AS(st::zeros({2}).item(), st::ShapeError);
}

TEST_CASE("sizes by dimension") {
  const Tensor x = st::empty({2, 3});
  CHECK(x.size(-1) == 3);
  CHECK_THROWS_AS(x.size(2), st::IndexError);
  CHECK_THROWS_AS(x.size(-3), st::IndexError);
}

TEST_CASE("wrapped memory lives as long as its tensors") {
  auto owner = std::make_shared<std::vector<double>>(std::vector<double>{1, 2, 3, 4});
  std::weak_ptr<std::vector<double>> alive = owner;
  double* values = owner->data();
  Tensor column;
  {
    const Tensor x =
        st::from_memory(values, {2, 2}, {2, 1}, DType::kFloat64, Device{}, std::move(owner));
    column = st::view(x, {2}, {2}, 1);
  }
  CHECK_FALSE(alive.expired());
  CHECK(st::sum(column).item() == 6);
  column = Tensor();
  CHECK(alive.expired());
  CHECK_THROWS_AS(st::from_memory(nullptr, {1}, {1}, DType::kFloat64, Device{}, nullptr),
                  st::ArgumentError);
}

TEST_CASE("values are copied in row-major order") {
  const Tensor x = floats({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(x.data<float>()[4] == 5);
  CHECK_THROWS_AS(floats({1, 2}, {3}), st::ShapeError);
  const std::vector<int64_t> labels{1, 2};
  CHECK_THROWS_AS(st::from_values(std::span<const int64_t>(labels), {2}, true), st::DTypeError);
}

TEST_CASE("creation fills") {
  CHECK(st::sum(st::ones({3, 4})).item() == 12);
  CHECK(st::sum(st::full({5}, 3, {.dtype = DType::kInt32})).item() == 15);
  CHECK(st::zeros({2}, {.requires_grad = true}).requires_grad());
  const Tensor steps = st::arange(1, 2, 0.25);
  CHECK(steps.shape() == Dims{4});
  CHECK(steps.data<float>()[3] == 1.75f);
  CHECK(st::arange(5, -1, -2, {.dtype = DType::kInt64}).data<int64_t>()[2] == 1);
  CHECK(st::arange(3, 3, 1).numel() == 0);
  CHECK_THROWS_AS(st::arange(0, 5, 0), st::ArgumentError);
  CHECK_THROWS_AS(st::arange(0, 5, -1), st::ArgumentError);
  CHECK_THROWS_AS(st::arange(0, NAN, 1), st::ArgumentError);
  CHECK_THROWS_AS(st::arange(0, 1e300, 1), st::ShapeError);
  CHECK_THROWS_AS(st::arange(0, 300, 1, {.dtype = DType::kUInt8}), st::ArgumentError);
  CHECK_THROWS_AS(st::arange(0, 2, 1, {.dtype = DType::kBool}), st::DTypeError);
}

TEST_CASE("sizes that no machine has are refused and leave everything working") {
  CHECK_THROWS_AS(st::empty({kHuge, kHuge}), st::ShapeError);
  CHECK_THROWS_AS(st::empty({INT64_MAX / 2}), st::ShapeError);  // the bytes overflow
  const auto before = st::memory_stats({});
  CHECK_THROWS_WITH_AS(st::empty({kHuge}), doctest::Contains("4398046511104 bytes"),
                       st::OutOfMemoryError);
  CHECK_THROWS_AS(st::empty({int64_t{1} << 60}), st::OutOfMemoryError);
  CHECK(st::memory_stats({}).allocated_bytes == before.allocated_bytes);
  CHECK(st::sum(st::ones({16})).item() == 16);
}

TEST_CASE("freed blocks are handed out again") {
  for (int64_t count : {1, 100, 5000, 1 << 20}) {
    void* first = st::empty({count}).data();
    const Tensor again = st::empty({count});
    CHECK(again.data() == first);
    CHECK(reinterpret_cast<uintptr_t>(again.data()) % 64 == 0);
  }
  const auto cached = st::memory_stats({});
  CHECK(cached.reserved_bytes > cached.allocated_bytes);
  CHECK(cached.peak_bytes >= (4 << 20));
  st::empty_cache({});
  const auto emptied = st::memory_stats({});
  CHECK(emptied.reserved_bytes == emptied.allocated_bytes);
}

TEST_CASE("philox matches the reference implementation") {
  // Random123's known-answer test for philox4x32-10: counter and key zero.
  const st::PhiloxBlock block = st::philox_block(0, 0);
  CHECK(block.word[0] == 0x6627e8d5);
  CHECK(block.word[1] == 0xe169c58d);
  CHECK(block.word[2] == 0xbc57ac4c);
  CHECK(block.word[3] == 0x9b00dbd8);
}

TEST_CASE("normal values depend on their positions, not on where a draw starts or ends") {
  const auto draw = [](uint64_t offset, int64_t n) {
    std::vector<double> values(static_cast<size_t>(n));
    st::cpu::random({.dtype = DType::kFloat64,
                     .y = values.data(),
                     .n = n,
                     .distribution = st::Distribution::kNormal,
                     .a = 0.25,
                     .b = 2,
                     .seed = 7,
                     .offset = offset},
                    {});
    return values;
  };
  const std::vector<double> all = draw(0, 600);
  for (int64_t offset : {0, 1, 2, 3, 4, 7}) {
    for (int64_t n : {0, 1, 2, 3, 4, 5, 9, 255, 256, 257, 515}) {
      CAPTURE(offset);
      CAPTURE(n);
      CHECK(draw(static_cast<uint64_t>(offset), n) ==
            std::vector<double>(all.begin() + offset, all.begin() + offset + n));
    }
  }
}

TEST_CASE("the generator replays") {
  st::manual_seed(7);
  const Tensor a = st::rand({5});
  const st::RngState middle = st::rng_state();
  const Tensor b = st::randn({1000});
  st::set_rng_state(middle);
  const Tensor c = st::randn({1000});
  CHECK(st::sum(st::compare(st::Comparison::kNe, b, c)).item() == 0);
  CHECK(std::abs(st::mean(b).item()) < 0.2);
  st::manual_seed(7);
  CHECK(st::sum(st::compare(st::Comparison::kNe, st::rand({5}), a)).item() == 0);
  // A draw that fails takes nothing.
  const st::RngState before = st::rng_state();
  CHECK_THROWS_AS(st::rand({3}, {.dtype = DType::kInt64}), st::DTypeError);
  CHECK_THROWS_AS(st::rand({kHuge}), st::OutOfMemoryError);
  CHECK(st::rng_state().offset == before.offset);
}

TEST_CASE("derived data follows the elements, versions count the edits") {
  const Tensor x = st::zeros({3});
  st::DerivedCache& cache = st::derived_cache(x);
  CHECK(&st::derived_cache(x.detach()) == &cache);
  const uint64_t before = x.version();
  st::fill_(x.detach(), 2);
  CHECK(x.version() > before);
}
