// Goal: slips of the finger find their word and other words do not. Method: a table.
#include "spec/nearest.h"

#include <gtest/gtest.h>

namespace evograd {
namespace {

TEST(NearestTest, SlipsFindTheirWordAndOthersDoNot) {
  const std::vector<std::string> names = {"population", "sigma", "tau", "base_optimizer"};
  EXPECT_EQ(Nearest("populaton", names), "population");
  EXPECT_EQ(Nearest("popualtion", names), "population");
  EXPECT_EQ(Nearest("tua", names), "tau");
  EXPECT_EQ(Nearest("baseOptimiser", names), "base_optimizer");
  EXPECT_EQ(Nearest("Base-Optimizer", names), "base_optimizer");
  EXPECT_EQ(Nearest("zeta", names), "");
  EXPECT_EQ(Nearest("", names), "");
  EXPECT_EQ(Nearest(std::string(65, 's'), names), "");
}

}  // namespace
}  // namespace evograd
