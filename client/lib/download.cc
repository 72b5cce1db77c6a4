#include "client/lib/download.h"

#include "absl/strings/str_cat.h"
#include "spec/error.h"

namespace evograd {

absl::Status Download::Damaged(const std::string& what) const {
  return MakeError(absl::StatusCode::kDataLoss,
                   absl::StrCat(checkpoint_.name(), " arrived damaged: ", what,
                                "; try again, and if that does not help take another checkpoint"),
                   "CHECKPOINT_DAMAGED", {{"checkpoint", checkpoint_.name()}});
}

absl::Status Download::Write(absl::string_view bytes) {
  size_bytes_ += bytes.size();
  if (size_bytes_ > checkpoint_.size_bytes()) {
    return Damaged(absl::StrCat("more bytes than the stated ", checkpoint_.size_bytes()));
  }
  hash_.Update(bytes);
  return file_.Write(bytes);
}

absl::Status Download::Finish() {
  if (size_bytes_ != checkpoint_.size_bytes()) {
    return Damaged(
        absl::StrCat(size_bytes_, " bytes where ", checkpoint_.size_bytes(), " are stated"));
  }
  const std::string sha256 = hash_.HexDigest();
  if (sha256 != checkpoint_.sha256()) {
    return Damaged(absl::StrCat("SHA-256 ", sha256, " where ", checkpoint_.sha256(), " is stated"));
  }
  return file_.Finish();
}

}  // namespace evograd
