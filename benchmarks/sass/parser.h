// The parser of instructions as nvdisasm prints them. It throws for what it does not know.
#pragma once

#include <cctype>
#include <sstream>

#include "instruction.h"

namespace sass {

class Parser {
 public:
  Parser(std::string line, const std::map<std::string, int64_t>& labels) : text_(strip(line)), labels_(labels) {}

  void parse(Instruction* instruction) {
    parse_guard(instruction);
    const size_t space = text_.find(' ');
    instruction->full = text_.substr(0, space);
    parse_name(instruction);
    if (space == std::string::npos) return;
    const int size = immediate_size(*instruction);
    for (const std::string& part : split_operands(text_.substr(space)))
      instruction->operands.push_back(operand(part, size));
  }

 private:
  static std::string strip(const std::string& text) {
    const size_t first = text.find_first_not_of(" \t"), last = text.find_last_not_of(" \t");
    return first == std::string::npos ? "" : text.substr(first, last - first + 1);
  }

  static bool begins(const std::string& text, const char* with) { return text.rfind(with, 0) == 0; }

  static std::vector<std::string> split(const std::string& text, char by) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, by);) parts.push_back(strip(part));
    return parts;
  }

  // Operands stand between commas, but a label may follow its register without one.
  static std::vector<std::string> split_operands(const std::string& text) {
    std::vector<std::string> parts(1);
    for (char letter : text) {
      if (letter == ',' || (letter == '`' && !strip(parts.back()).empty())) parts.emplace_back();
      if (letter != ',') parts.back() += letter;
    }
    for (std::string& part : parts) part = strip(part);
    return parts;
  }

  static int64_t integer(const std::string& text) {
    size_t read = 0;
    int64_t value = 0;
    try {
      value = std::stoll(text, &read, 0);
    } catch (const std::exception&) { read = 0; }
    if (read == 0 || read != text.size()) fail("operand " + text + " is not known");
    return value;
  }

  static double decimal(const std::string& text) {
    if (text.find("INF") != std::string::npos) return text[0] == '-' ? -INFINITY : INFINITY;
    size_t read = 0;
    double value = 0;
    try {
      value = std::stod(text, &read);
    } catch (const std::exception&) { read = 0; }
    if (read == 0 || read != text.size()) fail("operand " + text + " is not known");
    return value;
  }

  // A floating-point number as bits, of which there are `size`.
  static uint64_t real(const std::string& text, int size) {
    if (text.find("0x") != std::string::npos) return static_cast<uint64_t>(integer(text));
    if (text.find("QNAN") != std::string::npos) return ~uint64_t{0} >> (64 - size + (text[0] == '-' ? 0 : 1));
    const double value = decimal(text);
    if (size == 16) return bits<uint16_t>(static_cast<_Float16>(value));
    if (size == 32) return bits<uint32_t>(static_cast<float>(value));
    return bits<uint64_t>(value);
  }

  // The bits of an instruction's immediates if they are floating-point numbers, 0 if they are integers.
  static int immediate_size(const Instruction& instruction) {
    static const std::map<std::string, int> sizes{
        {"FADD", 32}, {"FMUL", 32},  {"FFMA", 32}, {"FMNMX", 32}, {"FSETP", 32}, {"FSEL", 32},
        {"FSET", 32}, {"MUFU", 32},  {"FCHK", 32}, {"FRND", 32},  {"F2I", 32},   {"F2F", 32},
        {"F2FP", 32}, {"HFMA2", 16}, {"DADD", 64}, {"DMUL", 64},  {"DFMA", 64},  {"DSETP", 64}};
    const auto found = sizes.find(instruction.name);
    return found == sizes.end() ? 0 : found->second;
  }

  void parse_guard(Instruction* instruction) {
    if (text_[0] != '@') return;
    const size_t space = text_.find(' ');
    const Operand guard = operand(text_.substr(1, space - 1), 0);
    if (!guard.predicate()) fail("guard " + guard.text + " is not known");
    instruction->guard = guard.index;
    instruction->guard_negated = guard.inverted;
    instruction->guard_uniform = guard.kind == Kind::kUniformPredicate;
    text_ = strip(text_.substr(space));
  }

  static void parse_name(Instruction* instruction) {
    std::vector<std::string> parts = split(instruction->full, '.');
    instruction->name = parts[0];
    instruction->modifiers.assign(parts.begin() + 1, parts.end());
    for (const std::string& part : instruction->modifiers) {
      if (const auto found = modifier_names().find(part); found != modifier_names().end())
        instruction->set.set(found->second);
      find(comparison_names(), part, &instruction->comparison);
      find(rounding_names(), part, &instruction->rounding);
      find(width_names(), part, &instruction->width);
    }
  }

  static void find(const std::map<std::string, int>& names, const std::string& name, int* value) {
    if (const auto found = names.find(name); found != names.end()) *value = found->second;
  }

  Operand operand(const std::string& written, int size) {
    Operand result;
    result.text = written;
    std::string text = written;
    if (const size_t reuse = text.find(".reuse"); reuse != std::string::npos) text.erase(reuse, 6);
    if (text.empty()) fail("an operand is missing");
    const bool number = text.size() > 1 && (std::isdigit(text[1]) || text[1] == 'I' || text[1] == 'Q');
    if (text[0] == '-' && !number) {
      result.negated = true;
      text.erase(0, 1);
    }
    if (text[0] == '~' || text[0] == '!') {
      result.inverted = true;
      text.erase(0, 1);
    }
    if (text[0] == '|') {
      result.absolute = true;
      text = text.substr(1, text.size() - 2);
    }
    if (begins(text, "desc[")) text.erase(0, text.find(']') + 1);
    read(text, size, &result);
    return result;
  }

  // The operand without its signs.
  void read(const std::string& text, int size, Operand* result) {
    const bool second_digit = text.size() > 1 && std::isdigit(text[1]);
    if (text[0] == '`') return read_label(text, result);
    if (begins(text, "c[")) return read_constant(text, result);
    if (text[0] == '[') return read_memory(text, result);
    if (begins(text, "SR_")) return read_special(text, result);
    if (begins(text, "UR")) return read_numbered(text, 2, "URZ", kZeroUniform, Kind::kUniform, result);
    if (begins(text, "UP")) return read_numbered(text, 2, "UPT", kTrue, Kind::kUniformPredicate, result);
    if (text == "PR" || begins(text, "SB")) result->kind = Kind::kOther;  // all predicates, a scoreboard
    else if (text == "PT" || (text[0] == 'P' && second_digit))
      read_numbered(text, 1, "PT", kTrue, Kind::kPredicate, result);
    else if (text[0] == 'B' && second_digit) read_numbered(text, 1, "", 0, Kind::kBarrier, result);
    else if (text == "SRZ") read_numbered(text, 1, "SRZ", kZeroRegister, Kind::kRegister, result);
    else if (text[0] == 'R') read_register(text, result);
    else result->value = size == 0 ? integer(text) : static_cast<int64_t>(real(text, size));
  }

  static int number_of(const std::string& text, size_t prefix, const char* named, int named_number) {
    if (text == named) return named_number;
    return static_cast<int>(integer(text.substr(prefix)));
  }

  static void read_numbered(const std::string& text, size_t prefix, const char* named, int number, Kind kind,
                            Operand* result) {
    result->kind = kind;
    result->index = number_of(text, prefix, named, number);
  }

  static void read_register(const std::string& text, Operand* result) {
    static const std::map<std::string, int> parts{{"B0", 0}, {"B1", 1}, {"B2", 2}, {"B3", 3}, {"H0", 0}, {"H1", 1}};
    const size_t dot = text.find('.');
    read_numbered(text.substr(0, dot), 1, "RZ", kZeroRegister, Kind::kRegister, result);
    if (dot == std::string::npos) return;
    const auto found = parts.find(text.substr(dot + 1));
    if (found == parts.end()) fail("operand " + text + " is not known");
    result->part = found->second;
  }

  void read_label(const std::string& text, Operand* result) const {
    result->kind = Kind::kLabel;
    const auto found = labels_.find(text.substr(2, text.size() - 3));
    result->value = found == labels_.end() ? -1 : found->second;
  }

  static void read_special(const std::string& text, Operand* result) {
    const auto found = special_names().find(text);
    if (found == special_names().end()) fail("special register " + text + " is not known");
    result->kind = Kind::kSpecial;
    result->index = found->second;
  }

  static void read_constant(const std::string& text, Operand* result) {
    const size_t close = text.find("][");
    if (close == std::string::npos) fail("operand " + text + " is not known");
    result->kind = Kind::kConstant;
    result->index = static_cast<int>(integer(text.substr(2, close - 2)));
    read_place(text.substr(close + 2, text.size() - close - 3), result);
  }

  static void read_memory(const std::string& text, Operand* result) {
    result->kind = Kind::kMemory;
    read_place(text.substr(1, text.size() - 2), result);
  }

  // A sum of registers and numbers.
  static void read_place(const std::string& text, Operand* result) {
    for (std::string part : split(text, '+')) {
      if (const size_t dot = part.find(".64"); part[0] == 'R' && dot != std::string::npos) {
        result->wide = true;
        part.erase(dot, 3);
      }
      if (part[0] == 'R') result->base = number_of(part, 1, "RZ", kZeroRegister);
      else if (part[0] == 'U') result->uniform_base = number_of(part, 2, "URZ", kZeroUniform);
      else result->value += integer(part);
    }
  }

  std::string text_;
  const std::map<std::string, int64_t>& labels_;
};

}  // namespace sass
