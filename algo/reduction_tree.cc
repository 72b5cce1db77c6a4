#include "algo/reduction_tree.h"

#include <algorithm>
#include <cstdint>

namespace evograd {
namespace {

// The largest power of two below `count`, which is at least 2.
int LeftCount(int count) {
  int left = 1;
  while (left < count - left) left *= 2;
  return left;
}

void AppendCover(TreeNode node, LeafRange range, std::vector<TreeNode>* cover) {
  if (node.last <= range.first || range.last <= node.first) return;
  if (range.first <= node.first && node.last <= range.last) {
    cover->push_back(node);
    return;
  }
  const int middle = node.first + LeftCount(node.count());
  AppendCover({node.first, middle}, range, cover);
  AppendCover({middle, node.last}, range, cover);
}

}  // namespace

LeafRange SliceOf(int leaves, int rank, int size) {
  EVOGRAD_CHECK(leaves >= 1 && 0 <= rank && rank < size,
                "there are leaves, and a rank is below the size");
  const int64_t n = leaves;
  return {static_cast<int>(rank * n / size), static_cast<int>((rank + 1) * n / size)};
}

std::vector<TreeNode> CoverOf(int leaves, LeafRange range) {
  EVOGRAD_CHECK(
      leaves >= 1 && 0 <= range.first && range.first <= range.last && range.last <= leaves,
      "the range lies within the leaves");
  std::vector<TreeNode> cover;
  if (!range.empty()) AppendCover({0, leaves}, range, &cover);
  return cover;
}

bool AreSiblings(int leaves, TreeNode left, TreeNode right) {
  // A left child is always full: only the last node of a level has fewer than 2^level leaves.
  const int count = left.count();
  const bool power_of_two = count > 0 && (count & (count - 1)) == 0;
  return power_of_two && left.first % (2 * static_cast<int64_t>(count)) == 0 &&
         right.first == left.last &&
         right.last == std::min<int64_t>(static_cast<int64_t>(left.last) + count, leaves) &&
         right.first < right.last;
}

}  // namespace evograd
