#include "worker/collective/tree_all_reduce.h"

#include <algorithm>
#include <utility>

namespace evograd {
namespace {

// Up to here the time of a collective is its latency, and one that moves more is faster than two.
constexpr size_t kSmallBytes = 64 << 10;

// Parts begin on cache lines.
constexpr size_t kChunkBytes = 64;

size_t ChunkOf(size_t count, int size, ElementType type) {
  const size_t elements = kChunkBytes / BytesOf(type);
  const size_t chunk = (count + size - 1) / size;
  return size == 1 ? count : (chunk + elements - 1) / elements * elements;
}

void* At(const std::shared_ptr<void>& buffer, size_t bytes) {
  return static_cast<char*>(buffer.get()) + bytes;
}

}  // namespace

TreeAccumulator::TreeAccumulator(VectorOps* ops, ElementType type, int leaves, int rank, int size,
                                 size_t count)
    : ops_(ops),
      type_(type),
      leaves_(leaves),
      rank_(rank),
      size_(size),
      count_(count),
      chunk_(ChunkOf(count, size, type)),
      slice_(SliceOf(leaves, rank, size)),
      next_leaf_(slice_.first) {
  for (int r = 0; r < size; ++r) {
    covers_.push_back(CoverOf(leaves, SliceOf(leaves, r, size)));
    most_nodes_ = std::max(most_nodes_, covers_.back().size());
  }
}

absl::StatusOr<TreeAccumulator::Buffer> TreeAccumulator::TakeBuffer() {
  if (free_.empty()) return ops_->Allocate(BytesFor(chunk_ * size_));
  Buffer buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void TreeAccumulator::Clear() {
  for (Partial& partial : partials_) free_.push_back(std::move(partial.buffer));
  partials_.clear();
  if (sum_ != nullptr) free_.push_back(std::move(sum_));
  sum_ = nullptr;
  next_leaf_ = slice_.first;
}

absl::Status TreeAccumulator::Add(const void* leaf) {
  EVOGRAD_CHECK(next_leaf_ < slice_.last, "a rank adds the leaves of its slice only");
  if (next_leaf_ == slice_.first) Clear();
  TreeNode node = {next_leaf_, next_leaf_ + 1};
  ++next_leaf_;
  if (partials_.empty() || !AreSiblings(leaves_, partials_.back().node, node)) {
    EVOGRAD_ASSIGN_OR_RETURN(Buffer buffer, TakeBuffer());
    EVOGRAD_RETURN_IF_ERROR(ops_->Copy(buffer.get(), leaf, BytesFor(count_)));
    partials_.push_back({node, std::move(buffer)});
    return absl::OkStatus();
  }
  EVOGRAD_RETURN_IF_ERROR(ops_->Add(partials_.back().buffer.get(), leaf, count_, type_));
  partials_.back().node.last = node.last;
  while (partials_.size() >= 2) {
    Partial& left = partials_[partials_.size() - 2];
    Partial& right = partials_.back();
    if (!AreSiblings(leaves_, left.node, right.node)) break;
    EVOGRAD_RETURN_IF_ERROR(ops_->Add(left.buffer.get(), right.buffer.get(), count_, type_));
    left.node.last = right.node.last;
    free_.push_back(std::move(right.buffer));
    partials_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status TreeAccumulator::SumNodes(const std::vector<void*>& values, size_t count) {
  std::vector<TreeNode> nodes;
  for (const std::vector<TreeNode>& cover : covers_) {
    nodes.insert(nodes.end(), cover.begin(), cover.end());
  }
  std::vector<void*> sums = values;
  absl::Status status;
  TreeSum(leaves_, nodes, &sums, [&](void* into, const void* from) {
    if (status.ok()) status = ops_->Add(into, from, count, type_);
  });
  return status;
}

absl::StatusOr<const void*> TreeAccumulator::GatherAndSum(Communicator& communicator) {
  const size_t block = most_nodes_ * BytesFor(count_);
  if (gathered_ == nullptr) {
    EVOGRAD_ASSIGN_OR_RETURN(gathered_, ops_->Allocate(size_ * block));
  }
  for (size_t k = 0; k < partials_.size(); ++k) {
    EVOGRAD_RETURN_IF_ERROR(ops_->Copy(At(gathered_, rank_ * block + k * BytesFor(count_)),
                                       partials_[k].buffer.get(), BytesFor(count_)));
  }
  EVOGRAD_RETURN_IF_ERROR(
      communicator.AllGather(At(gathered_, rank_ * block), gathered_.get(), block));
  std::vector<void*> values;
  for (int r = 0; r < size_; ++r) {
    for (size_t k = 0; k < covers_[r].size(); ++k) {
      values.push_back(At(gathered_, r * block + k * BytesFor(count_)));
    }
  }
  EVOGRAD_RETURN_IF_ERROR(SumNodes(values, count_));
  return values[0];
}

absl::StatusOr<const void*> TreeAccumulator::ScatterSumGather(Communicator& communicator,
                                                              void* result) {
  // A rank with fewer nodes than others sends some vector in the place of each missing one; nobody
  // looks at it.
  if (partials_.empty()) {
    EVOGRAD_ASSIGN_OR_RETURN(Buffer filler, TakeBuffer());
    partials_.push_back({TreeNode(), std::move(filler)});
  }
  std::vector<Buffer> received;
  for (size_t k = 0; k < most_nodes_; ++k) {
    EVOGRAD_ASSIGN_OR_RETURN(Buffer buffer, TakeBuffer());
    received.push_back(std::move(buffer));
    const Buffer& mine = partials_[std::min(k, partials_.size() - 1)].buffer;
    EVOGRAD_RETURN_IF_ERROR(communicator.AllToAll(mine.get(), received[k].get(), BytesFor(chunk_)));
  }
  std::vector<void*> values;
  for (int r = 0; r < size_; ++r) {
    for (size_t k = 0; k < covers_[r].size(); ++k) {
      values.push_back(At(received[k], r * BytesFor(chunk_)));
    }
  }
  EVOGRAD_RETURN_IF_ERROR(SumNodes(values, chunk_));
  // The nodes have been sent: the first one's memory is free to take the result.
  sum_ = std::move(partials_[0].buffer);
  partials_.erase(partials_.begin());
  void* target = result != nullptr && chunk_ * size_ == count_ ? result : sum_.get();
  absl::Status status = communicator.AllGather(values[0], target, BytesFor(chunk_));
  for (Buffer& buffer : received) free_.push_back(std::move(buffer));
  if (!status.ok()) return status;
  return target;
}

absl::StatusOr<const void*> TreeAccumulator::Exchange(Communicator& communicator, void* result) {
  EVOGRAD_CHECK(next_leaf_ == slice_.last, "every leaf of the slice has been added");
  // A rank without leaves never comes to Add, which frees the last sum elsewhere.
  if (sum_ != nullptr) free_.push_back(std::move(sum_));
  sum_ = nullptr;
  if (size_ == 1) {
    sum_ = std::move(partials_[0].buffer);
    partials_.clear();
    return sum_.get();
  }
  EVOGRAD_CHECK(communicator.rank() == rank_ && communicator.size() == size_,
                "the communicator is the one that the leaves were dealt for");
  // No rank has anything to say; null would look like no result.
  if (count_ == 0) return this;
  if (size_ * most_nodes_ * BytesFor(count_) <= kSmallBytes) return GatherAndSum(communicator);
  return ScatterSumGather(communicator, result);
}

absl::StatusOr<const void*> TreeAccumulator::AllReduce(Communicator& communicator) {
  EVOGRAD_ASSIGN_OR_RETURN(const void* sum, Exchange(communicator, nullptr));
  next_leaf_ = slice_.first;
  return sum;
}

absl::Status TreeAccumulator::AllReduce(Communicator& communicator, void* result) {
  EVOGRAD_ASSIGN_OR_RETURN(const void* sum, Exchange(communicator, result));
  next_leaf_ = slice_.first;
  if (sum == result) return absl::OkStatus();
  return ops_->Copy(result, sum, BytesFor(count_));
}

}  // namespace evograd
