// Goal: the generator is the published Philox4x32-10. Method: Random123's known-answer vectors.
#include "algo/philox.h"

#include <gtest/gtest.h>

#include <vector>

namespace evograd {
namespace {

std::vector<uint32_t> Words(const PhiloxBlock& block) {
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(Words(Philox4x32(0, 0, 0, 0, 0)),
            (std::vector<uint32_t>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(Words(Philox4x32(kOnes, kOnes, kOnes, kOnes, ~uint64_t{0})),
            (std::vector<uint32_t>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Words(Philox4x32(0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0x299f31d0a4093822u)),
            (std::vector<uint32_t>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

}  // namespace
}  // namespace evograd
