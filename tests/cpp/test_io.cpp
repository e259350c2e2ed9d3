// Checkpoints: what is written comes back, and nothing malformed does.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <vector>

#include "io/crc32.h"
#include "io/json.h"
#include "striate/striate.h"

namespace st = striate;
namespace fs = std::filesystem;
using st::Checkpoint;
using st::DType;
using st::Tensor;

namespace {

/// A directory that disappears with the test.
struct Directory {
  Directory() {
    std::string name = (fs::temp_directory_path() / "striate-io-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Directory() { fs::remove_all(path); }
  std::string file(const char* name) const { return (path / name).string(); }
  fs::path path;
};

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

/// A file with this header and `data` bytes of elements.
std::string container(const std::string& header, size_t data) {
  uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + std::string(data, '\1');
}

Checkpoint sample() {
  st::manual_seed(3);
  Checkpoint checkpoint;
  checkpoint.tensors["conv.weight"] = st::randn({2, 3, 2, 2});
  checkpoint.tensors["counts"] = st::arange(0, 5, 1, {.dtype = DType::kInt64});
  checkpoint.tensors["mask"] = st::ones({3}, {.dtype = DType::kBool});
  checkpoint.tensors["none"] = st::empty({0, 4});
  checkpoint.metadata = {{"epoch", "3"}, {"note", "\"quoted\" \\ \n \xC3\xA9"}};
  return checkpoint;
}

void check_equal(const Checkpoint& a, const Checkpoint& b) {
  CHECK(a.metadata == b.metadata);
  REQUIRE(a.tensors.size() == b.tensors.size());
  for (const auto& [name, x] : a.tensors) {
    const Tensor& y = b.tensors.at(name);
    CHECK(x.dtype() == y.dtype());
    REQUIRE(x.shape() == y.shape());
    const Tensor left = st::contiguous(x), right = st::contiguous(y);
    CHECK(std::memcmp(left.data(), right.data(), x.numel() * st::item_size(x.dtype())) == 0);
  }
}

}  // namespace

TEST_CASE("crc32 of the standard check string") {
  CHECK(st::crc32(0, "123456789", 9) == 0xCBF43926);
  CHECK(st::crc32(st::crc32(0, "1234", 4), "56789", 5) == 0xCBF43926);
}

TEST_CASE("crc32 of many bytes is that of the bytes one by one") {
  const Tensor bytes = st::arange(0, 37000, 37, {.dtype = DType::kInt32});
  const auto* data = static_cast<const unsigned char*>(bytes.data());
  for (size_t start : {0, 1, 3, 8}) {
    uint32_t expected = 0x12345678;
    for (size_t size = 0; size < 600; ++size) {
      REQUIRE(st::crc32(0x12345678, data + start, size) == expected);
      expected = st::crc32(expected, data + start + size, 1);
    }
  }
}

TEST_CASE("checkpoints come back as they were") {
  const Directory directory;
  const std::string path = directory.file("model.safetensors");
  const Checkpoint written = sample();
  st::save(path, written);
  check_equal(st::load(path), written);
  const std::string bytes = read(path);
  st::save(path, st::load(path));
  CHECK(read(path) == bytes);
  CHECK(std::distance(fs::directory_iterator(directory.path), {}) == 1);  // no temporary is left
}

TEST_CASE("strided tensors are written in logical order") {
  const Directory directory;
  const std::string path = directory.file("x");
  const Tensor x = st::randn({2, 3, 4, 5});
  st::save(path, {{{"x", st::contiguous(x, st::MemoryFormat::kChannelsLast)}}, {}});
  check_equal(st::load(path), {{{"x", x}}, {}});
}

TEST_CASE("every element type") {
  const Directory directory;
  Checkpoint checkpoint;
  for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kBFloat16, DType::kInt64,
                      DType::kInt32, DType::kUInt8, DType::kBool}) {
    checkpoint.tensors[st::name(dtype)] = st::ones({3, 1}, {.dtype = dtype});
  }
  checkpoint.tensors["scalar"] = st::full({}, 4);
  st::save(directory.file("x"), checkpoint);
  check_equal(st::load(directory.file("x")), checkpoint);
  st::save(directory.file("empty"), {});
  check_equal(st::load(directory.file("empty")), {});
}

TEST_CASE("every truncation is noticed") {
  const Directory directory;
  const std::string path = directory.file("x");
  st::save(path, sample());
  const std::string bytes = read(path);
  for (size_t size = 0; size < bytes.size(); ++size) {
    write(path, bytes.substr(0, size));
    CHECK_THROWS_AS(st::load(path), st::FormatError);
  }
  write(path, bytes + '\0');
  CHECK_THROWS_AS(st::load(path), st::FormatError);
}

TEST_CASE("every flipped bit is noticed") {
  const Directory directory;
  const std::string path = directory.file("x");
  st::save(path, sample());
  std::string bytes = read(path);
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const char mask = static_cast<char>(1 << bit % 8);
    bytes[bit / 8] ^= mask;
    write(path, bytes);
    CHECK_THROWS_AS(st::load(path), st::FormatError);
    bytes[bit / 8] ^= mask;
  }
}

TEST_CASE("files of others load without a checksum") {
  const Directory directory;
  const std::string path = directory.file("x");
  write(path,
        container(R"( {"b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]},)"
                  R"("\u0061\ud83d\ude00":{"shape":[1],"data_offsets":[0,4],"dtype":"I32"}} )",
                  6));
  const Checkpoint checkpoint = st::load(path);
  CHECK(checkpoint.tensors.at("b").shape() == st::Dims{2});
  CHECK(checkpoint.tensors.at("a\xF0\x9F\x98\x80").item() == 0x01010101);
}

TEST_CASE("malformed files") {
  const Directory directory;
  const std::string path = directory.file("x");
  const auto tensor = [](const char* dtype, const char* shape, const char* offsets) {
    return std::string(R"({"x":{"dtype":")") + dtype + R"(","shape":[)" + shape +
           R"(],"data_offsets":[)" + offsets + "]}}";
  };
  const std::string good = tensor("U8", "4", "0,4");
  write(path, container(good, 4));
  CHECK(st::load(path).tensors.size() == 1);

  const std::string y = R"("y":{"dtype":"U8","shape":[2],"data_offsets":)";
  const std::vector<std::string> headers = {
      "",
      "[]",
      "null",
      good + "x",
      good.substr(0, good.size() - 1),
      tensor("F8_E4M3", "2", "0,4"),
      tensor("F8", "4", "0,4"),
      tensor("U8", "4", "1,5"),
      tensor("U8", "4", "0,5"),
      tensor("U8", "5", "0,4"),
      tensor("U8", "4", "4,0"),
      tensor("U8", "4", "0"),
      tensor("U8", "4", "0,4,4"),
      tensor("U8", "-4", "0,4"),
      tensor("U8", "4.0", "0,4"),
      tensor("U8", "04", "0,4"),
      tensor("U8", "1,1,1,1,1,1,1,1,4", "0,4"),
      tensor("U8", "99999999999999999999", "0,4"),
      tensor("F64", "4294967296,4294967296", "0,4"),
      tensor("F64", "2305843009213693952", "0,4"),
      tensor("U8", "1099511627776", "0,1099511627776"),
      tensor("U8", "[[[[4]]]]", "0,4"),
      R"({"x":{"dtype":"U8","shape":[4]}})",
      R"({"x":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"extra":1}})",
      R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)" + y + "[1,3]}}",  // overlap
      R"({"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)" + y + "[2,4]}}",  // hole
      R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)" + y + "[4,6]}}",  // outside
      R"({"y":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)" + y + "[2,4]}}",  // duplicate
      R"({"__metadata__":{"a":1},)" + good.substr(1),
      R"({"__metadata__":{"a":"1","a":"1"},)" + good.substr(1),
      R"({"__metadata__":{},"__metadata__":{},)" + good.substr(1),
      R"({"__metadata__":{"striate.version":"1"},)" + good.substr(1),
      R"({"__metadata__":{"striate.version":"2","striate.crc32":"00000000"},)" + good.substr(1),
      R"({"__metadata__":{"a":"\ud800"},)" + good.substr(1),
      R"({"__metadata__":{"a":"\q"},)" + good.substr(1),
      "{\"__metadata__\":{\"a\":\"\xFF\"}," + good.substr(1),
      "{\"__metadata__\":{\"a\":\"\n\"}," + good.substr(1),
      std::string(1000000, '['),
      std::string(1000000, '{'),
  };
  for (const std::string& header : headers) {
    CAPTURE(header.substr(0, 100));
    write(path, container(header, 4));
    CHECK_THROWS_AS(st::load(path), st::FormatError);
  }
  std::string huge = container(good, 4);
  for (uint64_t length : {uint64_t{1} << 63, ~uint64_t{0}, uint64_t{100'000'001}}) {
    std::memcpy(huge.data(), &length, sizeof(length));
    write(path, huge);
    CHECK_THROWS_AS(st::load(path), st::FormatError);
  }
  write(path, container(tensor("BOOL", "4", "0,4"), 3) + '\2');
  CHECK_THROWS_AS(st::load(path), st::FormatError);
}

TEST_CASE("text that is not UTF-8") {
  CHECK(st::is_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  for (const char* bad : {"\x80", "\xC3", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80"}) {
    CHECK_FALSE(st::is_utf8(bad));
  }
}

TEST_CASE("what save refuses") {
  const Directory directory;
  const std::string path = directory.file("x");
  CHECK_THROWS_AS(st::save(path, {{{"__metadata__", st::ones({1})}}, {}}), st::ArgumentError);
  CHECK_THROWS_AS(st::save(path, {{{"\xFF", st::ones({1})}}, {}}), st::ArgumentError);
  CHECK_THROWS_AS(st::save(path, {{{"x", Tensor()}}, {}}), st::ArgumentError);
  CHECK_THROWS_AS(st::save(path, {{}, {{"striate.crc32", "0"}}}), st::ArgumentError);
  CHECK(fs::is_empty(directory.path));
}

TEST_CASE("system errors keep the old file and their cause") {
  const Directory directory;
  const std::string path = directory.file("x");
  CHECK_THROWS_AS(st::load(path), std::system_error);
  CHECK_THROWS_AS(st::load(directory.path.string()), std::system_error);
  CHECK_THROWS_AS(st::save(directory.file("absent/x"), {}), std::system_error);
  CHECK_THROWS_AS(st::save(directory.path.string(), {}), std::system_error);

  st::save(path, sample());
  const std::string bytes = read(path);
  rlimit previous;
  REQUIRE(getrlimit(RLIMIT_FSIZE, &previous) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, previous.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);  // the disk is full
  CHECK_THROWS_AS(st::save(path, {{{"x", st::ones({4096})}}, {}}), std::system_error);
  setrlimit(RLIMIT_FSIZE, &previous);
  std::signal(SIGXFSZ, handler);
  CHECK(read(path) == bytes);
  CHECK(std::distance(fs::directory_iterator(directory.path), {}) == 1);
}
