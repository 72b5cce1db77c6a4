// A checksum over what one row of the store says and whose it is, so that a flipped bit is noticed
// and not served.
#ifndef EVOGRAD_SERVER_STORE_ROW_SUM_H_
#define EVOGRAD_SERVER_STORE_ROW_SUM_H_

#include <cstdint>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/sha256.h"

namespace evograd {

// `texts` must stand in the order of their columns. 32 bits, as SQLite stores small numbers in few
// bytes.
inline int64_t RowSum(absl::string_view table, std::initializer_list<int64_t> numbers,
                      std::initializer_list<absl::string_view> texts) {
  Sha256 hash;
  hash.Update(table);
  for (const int64_t number : numbers) hash.Update(absl::StrCat(" ", number));
  // Each with its length, so that no two rows have the same bytes.
  for (const absl::string_view text : texts) {
    hash.Update(absl::StrCat(" ", text.size(), ":"));
    hash.Update(text);
  }
  return static_cast<uint32_t>(hash.Digest64());
}

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_ROW_SUM_H_
