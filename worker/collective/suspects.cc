#include "worker/collective/suspects.h"

#include <set>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace evograd {
namespace {

constexpr char kPayload[] = "evograd/suspect_ranks";

constexpr size_t kNamed = 8;

}  // namespace

std::vector<int> Suspects(const absl::Status& status) {
  std::vector<int> ranks;
  const absl::optional<absl::Cord> payload = status.GetPayload(kPayload);
  if (!payload.has_value()) return ranks;
  const std::string text(*payload);
  for (const absl::string_view word : absl::StrSplit(text, ',')) {
    int rank = 0;
    if (absl::SimpleAtoi(word, &rank)) ranks.push_back(rank);
  }
  return ranks;
}

absl::Status Suspecting(const std::vector<int>& ranks, absl::Status status) {
  if (status.ok() || ranks.empty()) return status;
  std::set<int> all(ranks.begin(), ranks.end());
  for (const int rank : Suspects(status)) all.insert(rank);
  status.SetPayload(kPayload, absl::Cord(absl::StrJoin(all, ",")));
  return status;
}

std::string NamesOfRanks(const std::vector<int>& ranks) {
  if (ranks.size() == 1) return absl::StrCat("rank ", ranks[0]);
  if (ranks.size() > kNamed) {
    return absl::StrCat("ranks ", absl::StrJoin(ranks.begin(), ranks.begin() + kNamed, ", "),
                        " and ", ranks.size() - kNamed, " more");
  }
  if (ranks.empty()) return "no rank";
  return absl::StrCat("ranks ", absl::StrJoin(ranks.begin(), ranks.end() - 1, ", "), " and ",
                      ranks.back());
}

}  // namespace evograd
