// safetensors: a length (8 bytes), a JSON header of that length, the elements of all tensors.
//
// The format has no checksum, and its readers take flipped bits silently. Ours stores one in the
// metadata, over the whole file with the checksum's own digits read as zeros. A flipped bit in the
// checksum's key would hide it, so a second key, the version, says that it must be there.
#include <algorithm>
#include <bit>
#include <cstring>
#include <locale>
#include <sstream>
#include <tuple>
#include <vector>

#include "io/crc32.h"
#include "io/file.h"
#include "io/json.h"
#include "striate/autograd.h"
#include "striate/io.h"
#include "striate/ops.h"

namespace striate {
namespace {

constexpr const char* kMetadata = "__metadata__";
constexpr const char* kChecksum = "striate.crc32";
constexpr const char* kVersion = "striate.version";
constexpr const char* kVersionValue = "1";
constexpr std::string_view kNoDigits = "00000000";
constexpr uint64_t kMaxHeader = 100'000'000;  // the reference implementation's limit
constexpr size_t kAlignment = 8;

struct Half {
  uint16_t bits;
};

/// Names in the file, indexed by DType.
constexpr std::string_view kTypeNames[] = {"F32", "F64", "BF16", "I64", "I32", "U8", "BOOL"};

float widen(Half half) {
  const uint32_t sign = (half.bits & 0x8000u) << 16, size = half.bits & 0x7FFFu;
  // The exponent's bias is 15 in place of 127; the product also makes subnormal numbers normal.
  const bool finite = size < 0x7C00;
  const auto value = std::bit_cast<uint32_t>(std::bit_cast<float>(size << 13) * 0x1p112f);
  return std::bit_cast<float>(sign | (finite ? value : 0x7F800000 | size << 13));
}
int64_t widen(int64_t integer) { return integer; }

template <class From, class To>
void widen_all(const void* source, int64_t count, void* target) {
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, static_cast<const char*>(source) + i * sizeof(From), sizeof(From));
    static_cast<To*>(target)[i] = widen(value);
  }
}

/// Types that are read but have no DType: float16 becomes float32, integers become int64, as in
/// torch's files and .npz (python/striate/checkpoint/tensors.py).
struct Narrow {
  std::string_view name;
  int64_t item_size;
  DType loaded;
  void (*widen)(const void* source, int64_t count, void* target);
};
constexpr Narrow kNarrow[] = {
    {"F16", 2, DType::kFloat32, widen_all<Half, float>},
    {"I8", 1, DType::kInt64, widen_all<int8_t, int64_t>},
    {"I16", 2, DType::kInt64, widen_all<int16_t, int64_t>},
    {"U16", 2, DType::kInt64, widen_all<uint16_t, int64_t>},
    {"U32", 4, DType::kInt64, widen_all<uint32_t, int64_t>},
};

std::string hex_digits(uint32_t value) {
  std::string digits(kNoDigits);
  for (size_t i = digits.size(); i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

struct Entry {
  std::string name;
  DType dtype = DType::kFloat32;
  Dims shape = {};
  const Narrow* narrow = nullptr;  // how the file stores it, if not as `dtype`
  int64_t begin = 0, end = 0;      // bytes of the data section
};

/// In the file.
int64_t byte_count(const Entry& entry) {
  const int64_t item =
      entry.narrow ? entry.narrow->item_size : static_cast<int64_t>(item_size(entry.dtype));
  return checked_mul(checked_numel(entry.shape, "size"), item, "size");
}

// --- Writing ------------------------------------------------------------------------------------

/// Larger elements first, so that every tensor in the file is aligned to its own.
std::vector<Entry> lay_out(const std::map<std::string, Tensor>& tensors) {
  std::vector<Entry> entries;
  for (const auto& [name, tensor] : tensors) {
    require<ArgumentError>(name != kMetadata && is_utf8(name),
                           "save: expected a name in UTF-8 and "
                           "other than ",
                           kMetadata, ", got '", name, "'");
    require<ArgumentError>(tensor.defined(), "save: expected a tensor for '", name,
                           "', got an undefined one");
    entries.push_back({name, tensor.dtype(), tensor.shape()});
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return item_size(a.dtype) > item_size(b.dtype);
  });
  int64_t offset = 0;
  for (Entry& entry : entries) {
    entry.begin = offset;
    entry.end = offset = checked_add(offset, byte_count(entry), "save");
  }
  return entries;
}

struct Header {
  std::string text;
  size_t checksum_position;  // of the digits in `text`
};

Header make_header(const std::vector<Entry>& entries, const Metadata& metadata) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  out << '{' << json_quote(kMetadata) << ":{" << json_quote(kChecksum) << ":\"";
  const auto checksum_position = static_cast<size_t>(out.tellp());
  out << kNoDigits << "\"," << json_quote(kVersion) << ':' << json_quote(kVersionValue);
  for (const auto& [key, value] : metadata) {
    require<ArgumentError>(key != kChecksum && key != kVersion && is_utf8(key) && is_utf8(value),
                           "save: expected metadata in UTF-8 and keys other than ", kChecksum,
                           " and ", kVersion, ", got '", key, "'");
    out << ',' << json_quote(key) << ':' << json_quote(value);
  }
  out << '}';
  for (const Entry& entry : entries) {
    out << ',' << json_quote(entry.name) << ":{\"dtype\":\""
        << kTypeNames[static_cast<size_t>(entry.dtype)] << "\",\"shape\":[";
    for (int i = 0; i < entry.shape.size(); ++i) out << (i > 0 ? "," : "") << entry.shape[i];
    out << "],\"data_offsets\":[" << entry.begin << ',' << entry.end << "]}";
  }
  out << '}';
  std::string text = std::move(out).str();
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  require<ArgumentError>(text.size() <= kMaxHeader, "save: expected names and metadata of at most ",
                         kMaxHeader, " bytes, got ", text.size());
  return {std::move(text), checksum_position};
}

// --- Reading ------------------------------------------------------------------------------------

struct Contents {
  std::vector<Entry> entries;
  Metadata metadata;
  size_t checksum_position = 0;  // of the digits in the header; 0: none
};

void parse_type(JsonReader& json, Entry& entry) {
  const std::string text = json.string();
  const auto* name = std::find(std::begin(kTypeNames), std::end(kTypeNames), text);
  const auto* narrow = std::find_if(std::begin(kNarrow), std::end(kNarrow),
                                    [&](const Narrow& type) { return type.name == text; });
  if (narrow != std::end(kNarrow)) {
    entry.narrow = narrow;
    entry.dtype = narrow->loaded;
  } else if (name != std::end(kTypeNames)) {
    entry.dtype = static_cast<DType>(name - std::begin(kTypeNames));
  } else {
    json.reject("a supported dtype instead of '", excerpt(text), "'");
  }
}

Entry parse_entry(JsonReader& json, const std::string& name) {
  Entry entry{.name = name};
  int fields = 0, offsets = 0;
  json.object([&](const std::string& key) {
    ++fields;
    if (key == "dtype") {
      parse_type(json, entry);
    } else if (key == "shape") {
      json.array([&] {
        if (entry.shape.size() == kMaxDims) json.reject("at most 8 dimensions");
        entry.shape.push_back(json.integer());
      });
    } else if (key == "data_offsets") {
      json.array([&] { (++offsets == 1 ? entry.begin : entry.end) = json.integer(); });
    } else {
      json.reject("dtype, shape or data_offsets instead of '", excerpt(key), "'");
    }
  });
  if (fields != 3 || offsets != 2) json.reject("dtype, shape and two data_offsets before");
  return entry;
}

Contents parse_header(const std::string& text, const std::string& origin) {
  Contents contents;
  JsonReader json(text, origin);
  json.object([&](const std::string& name) {
    if (name != kMetadata) {
      contents.entries.push_back(parse_entry(json, name));
      return;
    }
    json.object([&](const std::string& key) {
      const std::string& value = contents.metadata[key] = json.string();
      if (key == kChecksum && value.size() == kNoDigits.size()) {
        contents.checksum_position = json.position() - 1 - kNoDigits.size();
      }
    });
  });
  json.end();
  return contents;
}

/// Throws unless the tensors fill the data section exactly, in some order; sorts them by offset.
void check_layout(std::vector<Entry>& entries, uint64_t data_size, const std::string& origin) {
  std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::tie(a.begin, a.end) < std::tie(b.begin, b.end);
  });
  int64_t offset = 0;
  for (const Entry& entry : entries) {
    int64_t bytes = 0;
    try {
      bytes = byte_count(entry);
    } catch (const ShapeError& error) {
      fail<FormatError>(origin, ": tensor '", excerpt(entry.name), "': ", error.what());
    }
    require<FormatError>(
        entry.begin == offset && entry.end >= offset && entry.end - offset == bytes, origin,
        ": expected tensor '", excerpt(entry.name), "' of ", bytes, " bytes to begin at ", offset,
        ", got offsets ", entry.begin, " to ", entry.end);
    offset = entry.end;
  }
  require<FormatError>(static_cast<uint64_t>(offset) == data_size, origin, ": expected ", offset,
                       " bytes after the header, got ", data_size);
}

/// Throws if one of our own files lacks its checksum or is of a later version.
void check_version(const Contents& contents, const std::string& origin) {
  const auto version = contents.metadata.find(kVersion);
  const bool ours = version != contents.metadata.end();
  require<FormatError>(!ours || version->second == kVersionValue, origin, ": expected version ",
                       kVersionValue, ", got '", ours ? excerpt(version->second) : "", "'");
  require<FormatError>(ours == (contents.checksum_position > 0), origin,
                       ": expected both or none of the metadata ", kVersion, " and ", kChecksum);
}

/// Reads the tensor, and continues the checksum `crc` over its bytes in the file.
Tensor read_tensor(InputFile& file, const Entry& entry, const std::string& origin, uint32_t& crc) {
  const Tensor tensor = empty(entry.shape, {.dtype = entry.dtype});
  const auto bytes = static_cast<size_t>(entry.end - entry.begin);
  if (entry.narrow != nullptr) {
    std::vector<char> stored(bytes);
    crc = file.read(stored.data(), bytes, crc);
    entry.narrow->widen(stored.data(), tensor.numel(), tensor.data());
    return tensor;
  }
  crc = file.read(tensor.data(), bytes, crc);
  if (entry.dtype == DType::kBool) {
    const auto* values = tensor.data<uint8_t>();
    require<FormatError>(std::all_of(values, values + bytes, [](uint8_t v) { return v <= 1; }),
                         origin, ": expected zeros and ones in bool tensor '", excerpt(entry.name),
                         "'");
  }
  return tensor;
}

}  // namespace

void save(const std::string& path, const Checkpoint& checkpoint) {
  const NoGrad guard;
  const std::vector<Entry> entries = lay_out(checkpoint.tensors);
  const Header header = make_header(entries, checkpoint.metadata);
  AtomicFile file(path);
  uint32_t crc = 0;
  const auto write = [&](const void* data, size_t size) {
    file.write(data, size);
    crc = crc32(crc, data, size);
  };
  const uint64_t length = header.text.size();
  write(&length, sizeof(length));
  write(header.text.data(), header.text.size());
  for (const Entry& entry : entries) {
    const Tensor tensor = contiguous(to(checkpoint.tensors.at(entry.name), Device{}));
    write(tensor.data(), static_cast<size_t>(entry.end - entry.begin));
  }
  file.patch(sizeof(length) + header.checksum_position, hex_digits(crc).data(), kNoDigits.size());
  file.commit();
}

Checkpoint load(const std::string& path) {
  const std::string origin = "load '" + path + "'";
  InputFile file(path);
  uint64_t length = 0;
  require<FormatError>(file.size() >= sizeof(length), origin, ": expected a safetensors file, got ",
                       file.size(), " bytes");
  file.read(&length, sizeof(length));
  const uint64_t rest = file.size() - sizeof(length);
  require<FormatError>(length <= std::min(rest, kMaxHeader), origin,
                       ": expected a header of at most ", std::min(rest, kMaxHeader),
                       " bytes, got a length of ", length);
  std::string header(length, '\0');
  file.read(header.data(), length);
  Contents contents = parse_header(header, origin);
  check_layout(contents.entries, rest - length, origin);
  check_version(contents, origin);

  std::string expected;
  if (contents.checksum_position > 0) {
    expected = header.substr(contents.checksum_position, kNoDigits.size());
    header.replace(contents.checksum_position, kNoDigits.size(), kNoDigits);
  }
  uint32_t crc = crc32(crc32(0, &length, sizeof(length)), header.data(), length);
  Checkpoint checkpoint;
  for (const Entry& entry : contents.entries) {
    checkpoint.tensors.emplace(entry.name, read_tensor(file, entry, origin, crc));
  }
  require<FormatError>(expected.empty() || expected == hex_digits(crc), origin,
                       ": expected the checksum ", expected, ", got ", hex_digits(crc),
                       ": the file is corrupt");
  contents.metadata.erase(kChecksum);
  contents.metadata.erase(kVersion);
  checkpoint.metadata = std::move(contents.metadata);
  return checkpoint;
}

uint32_t read_into(const Tensor& target, int file, int64_t offset) {
  const char* op = "read_into";
  require<ArgumentError>(target.defined() && target.is_contiguous() && target.device() == Device{},
                         op, ": expected a contiguous tensor of the CPU");
  require<ArgumentError>(offset >= 0, op, ": expected an offset of at least 0, got ", offset);
  const auto size = static_cast<size_t>(target.numel()) * item_size(target.dtype());
  return read_at(file, static_cast<uint64_t>(offset), target.data(), size, op, 0);
}

}  // namespace striate
