// Goal: sums along the tree have the same bits whatever ranks hold the leaves, and the tree is the
// documented one. Method: the tree is built a second time, naively, level by level; slices, covers
// and sums are compared with it over all small numbers of leaves and ranks. A sum in rank order
// must give other bits somewhere, so the comparison can fail.
#include "algo/reduction_tree.h"

#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <utility>

#include "gtest/gtest.h"

namespace evograd {
namespace {

constexpr int kMaxLeaves = 40;
constexpr int kMaxRanks = 9;

// All nodes by the definition: level by level, an odd last node passed up.
std::set<std::pair<int, int>> NodesByDefinition(int leaves) {
  std::set<std::pair<int, int>> nodes;
  std::vector<TreeNode> level;
  for (int i = 0; i < leaves; ++i) level.push_back({i, i + 1});
  while (true) {
    for (TreeNode node : level) nodes.insert({node.first, node.last});
    if (level.size() == 1) return nodes;
    std::vector<TreeNode> above;
    for (size_t i = 0; i < level.size(); i += 2) {
      above.push_back(i + 1 < level.size() ? TreeNode{level[i].first, level[i + 1].last}
                                           : level[i]);
    }
    level = above;
  }
}

double SumByDefinition(std::vector<double> level) {
  while (level.size() > 1) {
    std::vector<double> above;
    for (size_t i = 0; i < level.size(); i += 2) {
      above.push_back(i + 1 < level.size() ? level[i] + level[i + 1] : level[i]);
    }
    level = above;
  }
  return level[0];
}

std::vector<double> RandomLeaves(int leaves, std::mt19937_64& random) {
  // Of very different magnitudes: nearly every other order rounds differently.
  std::uniform_real_distribution<double> mantissa(-1, 1), exponent(-20, 20);
  std::vector<double> values(leaves);
  for (double& value : values)
    value = std::ldexp(mantissa(random), static_cast<int>(exponent(random)));
  return values;
}

bool SameBits(double a, double b) { return std::memcmp(&a, &b, sizeof a) == 0; }

void AddInto(double& a, const double& b) { a += b; }

// The sum as ranks take it: each its own cover first, then all covers together.
double SumByRanks(const std::vector<double>& values, int ranks) {
  const int leaves = static_cast<int>(values.size());
  std::vector<TreeNode> nodes;
  std::vector<double> sums;
  for (int rank = 0; rank < ranks; ++rank) {
    for (TreeNode node : CoverOf(leaves, SliceOf(leaves, rank, ranks))) {
      // A node's own subtree has the shape of the tree over its leaves alone.
      nodes.push_back(node);
      sums.push_back(SumByDefinition({values.begin() + node.first, values.begin() + node.last}));
    }
  }
  TreeSum(leaves, nodes, &sums, AddInto);
  return sums[0];
}

TEST(ReductionTree, AnyNumberOfRanksGivesTheSameBits) {
  std::mt19937_64 random(1);
  int naive_differs = 0;
  for (int leaves = 1; leaves <= kMaxLeaves; ++leaves) {
    for (int trial = 0; trial < 5; ++trial) {
      const std::vector<double> values = RandomLeaves(leaves, random);
      const double expected = SumByDefinition(values);
      for (int ranks = 1; ranks <= kMaxRanks; ++ranks) {
        EXPECT_TRUE(SameBits(SumByRanks(values, ranks), expected))
            << leaves << " leaves on " << ranks << " ranks";
      }
      double naive = 0;
      for (double value : values) naive += value;
      naive_differs += !SameBits(naive, expected);
    }
  }
  EXPECT_GT(naive_differs, kMaxLeaves) << "the values do not tell orders apart";
}

TEST(ReductionTree, SlicesPartTheLeaves) {
  for (int leaves = 1; leaves <= kMaxLeaves; ++leaves) {
    for (int ranks = 1; ranks <= kMaxRanks; ++ranks) {
      int next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const LeafRange slice = SliceOf(leaves, rank, ranks);
        EXPECT_EQ(slice.first, next);
        EXPECT_GE(slice.count(), leaves / ranks);
        EXPECT_LE(slice.count(), (leaves + ranks - 1) / ranks);
        next = slice.last;
      }
      EXPECT_EQ(next, leaves);
    }
  }
  EXPECT_EQ(SliceOf(1 << 30, 1023, 1024).last, 1 << 30) << "no overflow";
}

TEST(ReductionTree, CoversAreMaximalNodes) {
  for (int leaves = 1; leaves <= 20; ++leaves) {
    const auto nodes = NodesByDefinition(leaves);
    for (int first = 0; first <= leaves; ++first) {
      for (int last = first; last <= leaves; ++last) {
        // By the definition: nodes inside the range that lie in no larger such node.
        std::vector<TreeNode> expected;
        for (const auto& [a, b] : nodes) {
          if (a < first || last < b) continue;
          bool maximal = true;
          for (const auto& [c, d] : nodes) {
            maximal &= !(first <= c && d <= last && c <= a && b <= d && (c != a || d != b));
          }
          if (maximal) expected.push_back({a, b});
        }
        EXPECT_EQ(CoverOf(leaves, {first, last}), expected)
            << leaves << " leaves, " << LeafRange{first, last};
      }
    }
  }
}

TEST(ReductionTree, SiblingsAreThoseThatMakeANode) {
  for (int leaves = 1; leaves <= 20; ++leaves) {
    const auto nodes = NodesByDefinition(leaves);
    int siblings = 0;
    for (const auto& [a, b] : nodes) {
      for (const auto& [c, d] : nodes) {
        // Two adjacent nodes that make up a third are always its children: a node has one split.
        const bool expected = b == c && nodes.count({a, d}) > 0;
        EXPECT_EQ(AreSiblings(leaves, {a, b}, {c, d}), expected)
            << leaves << " leaves: " << TreeNode{a, b} << TreeNode{c, d};
        siblings += expected;
      }
    }
    EXPECT_EQ(siblings, leaves - 1) << "a binary tree has one pair for each leaf but one";
  }
}

TEST(ReductionTreeDeathTest, NodesThatDoNotCoverTheTreeEndTheProcess) {
  std::vector<double> values = {1, 2};
  TreeSum(2, {{0, 1}, {1, 2}}, &values, AddInto);
  EXPECT_EQ(values[0], 3);
  values = {1, 2};
  EXPECT_DEATH(TreeSum(3, {{0, 1}, {1, 2}}, &values, AddInto), "cover the whole tree");
}

}  // namespace
}  // namespace evograd
