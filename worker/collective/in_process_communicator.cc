#include "worker/collective/in_process_communicator.h"

#include <algorithm>
#include <cstring>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/status_macros.h"
#include "worker/collective/suspects.h"

namespace evograd {
namespace {

enum class Operation { kNone, kAllGather, kAllToAll, kBroadcast };

void CopyBytes(void* to, const void* from, size_t bytes) {
  // memmove: a send block may be the block that it goes to. Null is allowed where there are no
  // bytes.
  if (bytes > 0) std::memmove(to, from, bytes);
}

}  // namespace

struct InProcessCommunicator::Signature {
  Operation operation = Operation::kNone;
  size_t bytes = 0;
  int root = 0;
  int64_t number = 0;

  friend bool operator==(const Signature& a, const Signature& b) {
    return a.operation == b.operation && a.bytes == b.bytes && a.root == b.root &&
           a.number == b.number;
  }
};

struct InProcessCommunicator::Group {
  struct Member {
    // The collective in which the rank waits or copies; operation kNone outside.
    Signature here;
    // The last collective that it came to, even if it has given that up.
    Signature came;
    const char* buffer = nullptr;
    // Collectives begun and completed.
    int64_t begun = 0;
    int64_t copied = 0;
    bool gone = false;
    bool aborted = false;
  };

  explicit Group(int size) : members(size) {}

  // True when every rank has come to the collective of `rank`. From then on none of them can leave
  // it with an error.
  bool AllHere(int rank) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    return std::all_of(members.begin(), members.end(), [&](const Member& member) {
      // A quick peer may already have copied; it waits for us to do so.
      return member.here == members[rank].here;
    });
  }

  std::vector<int> Gone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<int> ranks;
    for (size_t r = 0; r < members.size(); ++r) {
      if (members[r].gone) ranks.push_back(static_cast<int>(r));
    }
    return ranks;
  }

  std::vector<int> NotCome(const Signature& signature) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    std::vector<int> ranks;
    for (size_t r = 0; r < members.size(); ++r) {
      if (!(members[r].came == signature)) ranks.push_back(static_cast<int>(r));
    }
    return ranks;
  }

  absl::Status WhyNotAllHere(const Signature& signature, bool in_time, absl::Duration timeout) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (in_time) {
      const std::vector<int> gone = Gone();
      return Suspecting(gone, absl::UnavailableError(absl::StrCat(
                                  NamesOfRanks(gone), gone.size() == 1 ? " is" : " are", " gone")));
    }
    const std::vector<int> missing = NotCome(signature);
    return Suspecting(missing, absl::DeadlineExceededError(absl::StrCat(
                                   NamesOfRanks(missing), " did not come to the collective within ",
                                   absl::FormatDuration(timeout))));
  }

  absl::Mutex mutex;
  std::vector<Member> members ABSL_GUARDED_BY(mutex);
};

std::vector<std::unique_ptr<InProcessCommunicator>> InProcessCommunicator::CreateGroup(
    int size, absl::Duration timeout) {
  EVOGRAD_CHECK(size >= 1, "a group has a rank");
  auto group = std::make_shared<Group>(size);
  std::vector<std::unique_ptr<InProcessCommunicator>> ranks;
  for (int r = 0; r < size; ++r) {
    ranks.emplace_back(new InProcessCommunicator(group, r, size, timeout));
  }
  return ranks;
}

InProcessCommunicator::InProcessCommunicator(std::shared_ptr<Group> group, int rank, int size,
                                             absl::Duration timeout)
    : group_(std::move(group)), rank_(rank), size_(size), timeout_(timeout) {}

InProcessCommunicator::~InProcessCommunicator() { Kill(); }

void InProcessCommunicator::Abort() {
  error_.Set(absl::AbortedError("the communicator was aborted"));
  absl::MutexLock lock(&group_->mutex);
  group_->members[rank_].aborted = true;
}

void InProcessCommunicator::Kill() {
  error_.Set(absl::AbortedError(absl::StrCat("rank ", rank_, " was killed")));
  absl::MutexLock lock(&group_->mutex);
  group_->members[rank_].aborted = true;
  group_->members[rank_].gone = true;
}

absl::Status InProcessCommunicator::Run(
    const Signature& signature, const void* mine,
    const std::function<void(const std::vector<const char*>&)>& copy) {
  const absl::Time deadline = absl::Now() + timeout_;
  Group& group = *group_;
  std::vector<const char*> buffers(size_);
  {
    absl::MutexLock lock(&group.mutex);
    Group::Member& me = group.members[rank_];
    me.here = signature;
    me.here.number = ++me.begun;
    me.came = me.here;
    me.buffer = static_cast<const char*>(mine);
    const auto decided = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.mutex) {
      return group.AllHere(rank_) || me.aborted || !group.Gone().empty();
    };
    const bool in_time = group.mutex.AwaitWithDeadline(absl::Condition(&decided), deadline);
    if (!group.AllHere(rank_)) {
      if (!me.aborted) error_.Set(group.WhyNotAllHere(me.here, in_time, timeout_));
      // Nobody has seen, or will see, this rank's buffer.
      me.here = Signature();
      return error_.Get();
    }
    for (int r = 0; r < size_; ++r) buffers[r] = group.members[r].buffer;
  }
  copy(buffers);
  absl::MutexLock lock(&group.mutex);
  const int64_t number = ++group.members[rank_].copied;
  // Copying takes no longer than memcpy, so this ends by itself; before that no rank may give its
  // buffer away.
  const auto all_copied = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(group.mutex) {
    return std::all_of(group.members.begin(), group.members.end(),
                       [number](const Group::Member& member) { return member.copied >= number; });
  };
  group.mutex.Await(absl::Condition(&all_copied));
  return absl::OkStatus();
}

absl::Status InProcessCommunicator::AllGather(const void* send, void* receive, size_t bytes) {
  EVOGRAD_RETURN_IF_ERROR(error_.Get());
  char* blocks = static_cast<char*>(receive);
  char* mine = blocks + rank_ * bytes;
  CopyBytes(mine, send, bytes);
  Signature signature;
  signature.operation = Operation::kAllGather;
  signature.bytes = bytes;
  return Run(signature, mine, [&](const std::vector<const char*>& buffers) {
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) CopyBytes(blocks + r * bytes, buffers[r], bytes);
    }
  });
}

absl::Status InProcessCommunicator::AllToAll(const void* send, void* receive,
                                             size_t bytes_per_block) {
  EVOGRAD_RETURN_IF_ERROR(error_.Get());
  Signature signature;
  signature.operation = Operation::kAllToAll;
  signature.bytes = bytes_per_block;
  return Run(signature, send, [&](const std::vector<const char*>& buffers) {
    for (int r = 0; r < size_; ++r) {
      CopyBytes(static_cast<char*>(receive) + r * bytes_per_block,
                buffers[r] + rank_ * bytes_per_block, bytes_per_block);
    }
  });
}

absl::Status InProcessCommunicator::Broadcast(void* data, size_t bytes, int root) {
  EVOGRAD_CHECK(0 <= root && root < size_, "the root is a rank");
  EVOGRAD_RETURN_IF_ERROR(error_.Get());
  Signature signature;
  signature.operation = Operation::kBroadcast;
  signature.bytes = bytes;
  signature.root = root;
  return Run(signature, data, [&](const std::vector<const char*>& buffers) {
    if (rank_ != root) CopyBytes(data, buffers[root], bytes);
  });
}

}  // namespace evograd
