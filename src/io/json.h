// A pull reader for the JSON of a safetensors header: objects, arrays, strings and unsigned
// integers. The caller asks for what the format prescribes, so hostile nesting or size has nothing
// to grow. Throws FormatError on everything else.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "striate/error.h"

namespace striate {

/// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates.
bool is_utf8(std::string_view text);
/// The beginning of `text` (UTF-8) for an error message: a hostile file must not choose its length.
std::string excerpt(std::string_view text);
/// `text` (UTF-8) in double quotes, escaped.
std::string json_quote(std::string_view text);

class JsonReader {
 public:
  /// `origin` begins every error message.
  JsonReader(std::string_view text, std::string origin) : text_(text), origin_(std::move(origin)) {}

  /// Calls member(key), which reads the value, for every key. Throws on a duplicate.
  template <class Member>
  void object(const Member& member) {
    std::set<std::string> seen;
    expect('{');
    if (accept('}')) return;
    do {
      std::string key = string();
      if (!seen.insert(key).second) reject("no second key '", excerpt(key), "'");
      expect(':');
      member(key);
    } while (accept(','));
    expect('}');
  }
  /// Calls element(), which reads the value, for every element.
  template <class Element>
  void array(const Element& element) {
    expect('[');
    if (accept(']')) return;
    do element();
    while (accept(','));
    expect(']');
  }
  std::string string();
  /// At most 2^63 - 1.
  int64_t integer();
  /// Throws unless only white space is left.
  void end();
  /// Bytes read so far.
  size_t position() const { return position_; }
  /// Throws FormatError: the text at the current position is not what the parts say.
  template <class... Parts>
  [[noreturn]] void reject(const Parts&... expected) const {
    fail<FormatError>(origin_, ": expected ", expected..., " at byte ", position_,
                      " of the header");
  }

 private:
  void expect(char c);
  bool accept(char c);
  void skip_space();
  uint32_t hex4();
  void append_escape(std::string& out);

  std::string_view text_;
  std::string origin_;
  size_t position_ = 0;
};

}  // namespace striate
