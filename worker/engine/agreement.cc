#include "worker/engine/agreement.h"

#include <algorithm>
#include <cstring>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "spec/checkpoint_steps.h"
#include "worker/collective/suspects.h"
#include "worker/engine/disagreement.h"

namespace evograd {
namespace {

// Odd, so that a product keeps every difference: the golden ratio in 64 bits.
constexpr uint64_t kFactor = 0x9E3779B97F4A7C15u;
// What a device's memory is read through at a time.
constexpr int64_t kStageBytes = int64_t{16} << 20;

uint64_t Mix(uint64_t state, uint64_t word) {
  // Each of the four keeps every difference; the last carries it back into the high bits, whose
  // difference the next word could else take away again.
  uint64_t mixed = (state ^ word) * kFactor;
  mixed ^= mixed >> 32;
  return mixed * kFactor;
}

// The ranks that do not hold what most do; empty where no digest has a majority.
std::vector<int> Minority(const std::vector<uint64_t>& digests) {
  std::map<uint64_t, size_t> counts;
  for (const uint64_t digest : digests) ++counts[digest];
  std::vector<int> ranks;
  for (const auto& [digest, count] : counts) {
    if (2 * count <= digests.size()) continue;
    for (size_t rank = 0; rank < digests.size(); ++rank) {
      if (digests[rank] != digest) ranks.push_back(static_cast<int>(rank));
    }
  }
  return ranks;
}

}  // namespace

void StateDigest::Update(const void* data, size_t bytes) {
  const char* from = static_cast<const char*>(data);
  constexpr size_t kBlock = kLanes * sizeof(uint64_t);
  uint64_t words[kLanes];
  for (; bytes >= kBlock; bytes -= kBlock, from += kBlock) {
    std::memcpy(words, from, kBlock);
    for (int lane = 0; lane < kLanes; ++lane) lanes_[lane] = Mix(lanes_[lane], words[lane]);
  }
  std::fill(words, words + kLanes, 0);
  if (bytes > 0) std::memcpy(words, from, bytes);
  for (int lane = 0; lane < kLanes; ++lane) lanes_[lane] = Mix(lanes_[lane], words[lane]);
  lanes_[0] = Mix(lanes_[0], bytes);
}

void StateDigest::Update(const at::Tensor& tensor) {
  EVOGRAD_CHECK(tensor.is_contiguous(), "its bytes are read in order");
  if (tensor.is_cpu()) return Update(tensor.const_data_ptr(), tensor.nbytes());
  const at::Tensor flat = tensor.view({-1});
  const int64_t stage = kStageBytes / static_cast<int64_t>(tensor.element_size());
  for (int64_t at = 0; at < flat.numel(); at += stage) {
    const at::Tensor host = flat.narrow(0, at, std::min(stage, flat.numel() - at)).cpu();
    Update(host.const_data_ptr(), host.nbytes());
  }
}

uint64_t StateDigest::value() const {
  uint64_t value = 0;
  for (const uint64_t lane : lanes_) value = Mix(value, lane);
  return value;
}

absl::Status CheckRanksAgree(Exchange* exchange, uint64_t digest, const std::string& when) {
  // As numbers that a double holds exactly.
  const std::vector<double> halves = {static_cast<double>(digest >> 32),
                                      static_cast<double>(digest & 0xFFFFFFFFu)};
  EVOGRAD_ASSIGN_OR_RETURN(const std::vector<double> all,
                           exchange->AllGather(2 * exchange->size(), halves));
  std::vector<uint64_t> digests;
  for (size_t i = 0; i < all.size(); i += 2) {
    digests.push_back((static_cast<uint64_t>(all[i]) << 32) | static_cast<uint64_t>(all[i + 1]));
  }
  if (std::count(digests.begin(), digests.end(), digest) == exchange->size()) {
    return absl::OkStatus();
  }
  const std::vector<int> differing = Minority(digests);
  const std::string who =
      differing.empty()
          ? absl::StrCat("the ", exchange->size(), " ranks hold different parameters")
          : absl::StrCat(differing.size() == 1 ? "rank " : "ranks ", absl::StrJoin(differing, ", "),
                         differing.size() == 1 ? " holds" : " hold",
                         " other parameters than the others");
  return Suspecting(differing,
                    RanksDisagreeError(absl::StrCat(
                        when, " ", who,
                        ": their machines compute differently, or the memory of one is faulty; run "
                        "the job on machines of one kind")));
}

bool AgreementDue(const v1::JobSpec& spec, bool in_memory, int64_t done) {
  return in_memory || done % kDeviceAgreementSteps == 0 || IsCheckpointStep(spec, done);
}

}  // namespace evograd
