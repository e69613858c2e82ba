// A kernel's instructions. An instruction that cannot be parsed keeps the reason as its problem, which is an error only
// if a warp gets there.
#pragma once

#include "parser.h"

namespace sass {

class Program {
 public:
  Program(const std::vector<std::pair<int64_t, std::string>>& lines, const std::map<std::string, int64_t>& labels) {
    for (const auto& [address, line] : lines) {
      Instruction instruction;
      instruction.address = address;
      instruction.number = code.size();
      try {
        Parser(line, labels).parse(&instruction);
      } catch (const std::exception& error) { instruction.problem = error.what(); }
      if (instruction.full.empty()) instruction.full = line;
      numbers_[address] = static_cast<int>(code.size());
      code.push_back(instruction);
    }
  }

  // The place in the program of the instruction at an address.
  int number_at(int64_t address) const {
    const auto found = numbers_.find(address);
    if (found == numbers_.end()) fail("there is no instruction to jump to at " + std::to_string(address));
    return found->second;
  }

  std::vector<Instruction> code;

 private:
  std::map<int64_t, int> numbers_;
};

}  // namespace sass
