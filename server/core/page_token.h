// Page tokens of lists: opaque to clients, bound to the list they came from.
#ifndef EVOGRAD_SERVER_CORE_PAGE_TOKEN_H_
#define EVOGRAD_SERVER_CORE_PAGE_TOKEN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

// `list` names the list, `last` the last entry of the page before.
std::string MakePageToken(absl::string_view list, absl::string_view last);

// What was `last`, empty for an empty token. INVALID_ARGUMENT: not a token of this list.
absl::StatusOr<std::string> ReadPageToken(absl::string_view list, const std::string& token);
// The same, where `last` was a number.
absl::StatusOr<int64_t> ReadNumberToken(absl::string_view list, const std::string& token,
                                        int64_t first);

// The number of entries for what was asked: the default for 0, at most limits::kMaxPageSize.
// INVALID_ARGUMENT: negative.
absl::StatusOr<int> PageSize(int asked);

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_PAGE_TOKEN_H_
