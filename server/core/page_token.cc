#include "server/core/page_token.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/service_limits.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

absl::Status BadToken() {
  return InvalidFields(
      {{"page_token", "is not a token that this list gave; begin again without one"}});
}

}  // namespace

std::string MakePageToken(absl::string_view list, absl::string_view last) {
  return absl::WebSafeBase64Escape(absl::StrCat(list, "/", last));
}

absl::StatusOr<std::string> ReadPageToken(absl::string_view list, const std::string& token) {
  if (token.empty()) return std::string();
  std::string text;
  absl::string_view last;
  if (!absl::WebSafeBase64Unescape(token, &text)) return BadToken();
  last = text;
  if (!absl::ConsumePrefix(&last, absl::StrCat(list, "/")) || last.empty()) return BadToken();
  return std::string(last);
}

absl::StatusOr<int64_t> ReadNumberToken(absl::string_view list, const std::string& token,
                                        int64_t first) {
  EVOGRAD_ASSIGN_OR_RETURN(const std::string last, ReadPageToken(list, token));
  if (last.empty()) return first;
  int64_t number = 0;
  if (!absl::SimpleAtoi(last, &number)) return BadToken();
  return number;
}

absl::StatusOr<int> PageSize(int asked) {
  if (asked < 0)
    return InvalidFields({{"page_size", absl::StrCat("is ", asked, "; it must not be negative")}});
  return asked == 0 ? limits::kDefaultPageSize : std::min(asked, limits::kMaxPageSize);
}

}  // namespace evograd
