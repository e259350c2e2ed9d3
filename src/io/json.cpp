#include "io/json.h"

#include <algorithm>
#include <charconv>

namespace striate {
namespace {

void append_utf8(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    tail(12), tail(6), tail(0);
  }
}

}  // namespace

void JsonReader::skip_space() {
  const size_t next = text_.find_first_not_of(" \t\r\n", position_);
  position_ = std::min(next, text_.size());
}

bool JsonReader::accept(char c) {
  skip_space();
  if (position_ == text_.size() || text_[position_] != c) return false;
  ++position_;
  return true;
}

void JsonReader::expect(char c) {
  if (!accept(c)) reject("'", c, "'");
}

void JsonReader::end() {
  skip_space();
  if (position_ != text_.size()) reject("nothing more");
}

int64_t JsonReader::integer() {
  skip_space();
  const char* begin = text_.data() + position_;
  int64_t value = -1;
  const auto [stop, error] = std::from_chars(begin, text_.data() + text_.size(), value);
  if (error != std::errc() || *begin == '-' || (*begin == '0' && stop != begin + 1)) {
    reject("an integer in [0, 2^63)");
  }
  position_ += stop - begin;
  return value;
}

std::string JsonReader::string() {
  if (!accept('"')) reject("a string");
  std::string out;
  for (;;) {
    if (position_ == text_.size()) reject("'\"'");
    const char c = text_[position_++];
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) reject("no control character");
    if (c == '\\') {
      append_escape(out);
    } else {
      out += c;
    }
  }
  if (!is_utf8(out)) reject("UTF-8 text");
  return out;
}

uint32_t JsonReader::hex4() {
  const std::string_view digits = text_.substr(position_, 4);
  uint32_t value = 0;
  const auto [stop, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (error != std::errc() || stop != digits.data() + 4) reject("four hexadecimal digits");
  position_ += 4;
  return value;
}

void JsonReader::append_escape(std::string& out) {
  constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
  const char letter = position_ < text_.size() ? text_[position_++] : '\0';
  if (const size_t found = kLetters.find(letter); found != std::string_view::npos) {
    out += kMeanings[found];
    return;
  }
  if (letter != 'u') reject("an escape sequence");
  uint32_t code = hex4();
  if (code >= 0xD800 && code < 0xDC00 && text_.substr(position_, 2) == "\\u") {
    position_ += 2;
    const uint32_t low = hex4();
    if (low < 0xDC00 || low >= 0xE000) reject("a low surrogate");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  append_utf8(out, code);  // a lone surrogate then fails the UTF-8 check
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    const int tail = lead < 0x80 ? 0 : lead < 0xC2 ? -1 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    if (tail < 0 || lead > 0xF4 || text.size() - i < static_cast<size_t>(tail)) return false;
    uint32_t code = tail == 0 ? lead : lead & (0x3F >> tail);
    for (int k = 0; k < tail; ++k) {
      const auto byte = static_cast<unsigned char>(text[i++]);
      if ((byte & 0xC0) != 0x80) return false;
      code = code << 6 | (byte & 0x3F);
    }
    const bool overlong = (tail == 2 && code < 0x800) || (tail == 3 && code < 0x10000);
    if (overlong || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return false;
  }
  return true;
}

std::string excerpt(std::string_view text) {
  size_t size = 80;
  if (text.size() <= size) return std::string(text);
  while ((static_cast<unsigned char>(text[size]) & 0xC0) == 0x80) --size;  // at a whole character
  return std::string(text.substr(0, size)) + "...";
}

std::string json_quote(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out += kHex[c >> 4];
      out += kHex[c & 15];
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace striate
