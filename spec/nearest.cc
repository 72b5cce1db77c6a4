#include "spec/nearest.h"

#include <algorithm>

#include "absl/strings/ascii.h"

namespace evograd {
namespace {

constexpr size_t kMaxLength = 64;  // the table below is quadratic

std::string Plain(absl::string_view name) {
  std::string plain;
  for (char c : name) {
    if (c != '-' && c != '_') plain.push_back(absl::ascii_tolower(c));
  }
  return plain;
}

// Levenshtein's distance with swapped neighbours counted as one edit.
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) {
    for (size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string Nearest(absl::string_view name, const std::vector<std::string>& names) {
  if (name.size() > kMaxLength) return "";
  const std::string wanted = Plain(name);
  std::string best;
  size_t best_distance = kMaxLength;
  for (const std::string& candidate : names) {
    const std::string plain = Plain(candidate);
    const size_t distance = Distance(wanted, plain);
    if (distance < best_distance && 3 * distance <= std::max(wanted.size(), plain.size())) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace evograd
