// The fixed binary tree along which every sum over members or shards is taken, so that its bits
// depend on the values alone and never on how many ranks held them.
//
// Over n leaves: level by level node i is the sum of nodes 2i and 2i+1 of the level below; an odd
// last node is passed up unchanged. Equivalently a node over leaves [first, last) splits at first +
// the largest power of two below its count. A node is named by its leaves, so one that was passed
// up keeps its name.
//
// A rank holds the leaves of `SliceOf`, sums them to the nodes of `CoverOf`, and whoever has all
// ranks' covers finishes with `TreeSum`:
//
//   std::vector<TreeNode> nodes = {…the covers of ranks 0, 1, …, one after the other…};
//   TreeSum(leaves, nodes, &values, [](double& a, const double& b) { a += b; });  // the sum is
//   values[0]
//
// Pure functions; any thread. Arguments out of range are a programmer's error and end the process.
#ifndef EVOGRAD_ALGO_REDUCTION_TREE_H_
#define EVOGRAD_ALGO_REDUCTION_TREE_H_

#include <cstddef>
#include <ostream>
#include <vector>

#include "common/status_macros.h"

namespace evograd {

// The leaves [first, last).
struct LeafRange {
  int first = 0;
  int last = 0;

  int count() const { return last - first; }
  bool empty() const { return first == last; }
  friend bool operator==(LeafRange a, LeafRange b) {
    return a.first == b.first && a.last == b.last;
  }
  friend bool operator!=(LeafRange a, LeafRange b) { return !(a == b); }
  friend std::ostream& operator<<(std::ostream& out, LeafRange range) {
    return out << "[" << range.first << ", " << range.last << ")";
  }
};

using TreeNode = LeafRange;

// The slice of rank `rank` of `size`: [⌊rank·leaves/size⌋, ⌊(rank+1)·leaves/size⌋); empty where
// there are more ranks than leaves.
LeafRange SliceOf(int leaves, int rank, int size);

// The maximal nodes of the tree over `leaves` that lie wholly inside `range`, in order. At most
// 2·log2(leaves).
std::vector<TreeNode> CoverOf(int leaves, LeafRange range);

// True when `left` and `right` are the two children of one node of the tree over `leaves`. Both
// must be nodes of it.
bool AreSiblings(int leaves, TreeNode left, TreeNode right);

// Sums `values`, held at `nodes`, into (*values)[0]. `nodes` must be nodes of the tree over
// `leaves` that cover all of it, in order, without overlap. `add(a, b)` adds b into a; the other
// values are left as intermediate sums.
template <typename T, typename Add>
void TreeSum(int leaves, const std::vector<TreeNode>& nodes, std::vector<T>* values, Add add) {
  EVOGRAD_CHECK(nodes.size() == values->size(), "each node has one value");
  struct Partial {
    TreeNode node;
    size_t index;
  };
  std::vector<Partial> partials;
  for (size_t i = 0; i < nodes.size(); ++i) {
    partials.push_back({nodes[i], i});
    while (partials.size() >= 2) {
      Partial& left = partials[partials.size() - 2];
      const Partial& right = partials.back();
      if (!AreSiblings(leaves, left.node, right.node)) break;
      add((*values)[left.index], (*values)[right.index]);
      left.node.last = right.node.last;
      partials.pop_back();
    }
  }
  EVOGRAD_CHECK(partials.size() == 1 && partials[0].node == (TreeNode{0, leaves}),
                "the nodes cover the whole tree");
}

}  // namespace evograd

#endif  // EVOGRAD_ALGO_REDUCTION_TREE_H_
