#include "client/lib/download.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "spec/error.h"

namespace evograd {
namespace {

// So that the name is there after a loss of power too. Some file systems cannot (FUSE, NFS), and
// the file is whole all the same: no error.
void SyncFolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const int file = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) return;
  fsync(file);
  close(file);
}

}  // namespace

Download::Download(const v1::Checkpoint& checkpoint, const std::string& path)
    : checkpoint_(checkpoint), path_(path), part_path_(absl::StrCat(path, ".part-", getpid())) {}

absl::StatusOr<std::unique_ptr<Download>> Download::Start(const v1::Checkpoint& checkpoint,
                                                          const std::string& path) {
  auto download = absl::WrapUnique(new Download(checkpoint, path));
  download->file_ =
      open(download->part_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (download->file_ < 0) return download->Failure("cannot be made");
  return download;
}

Download::~Download() {
  if (file_ < 0) return;
  close(file_);
  unlink(part_path_.c_str());
}

absl::Status Download::Failure(const std::string& what) const {
  const int error = errno;
  const auto code = error == ENOSPC || error == EDQUOT ? absl::StatusCode::kResourceExhausted
                                                       : absl::StatusCode::kFailedPrecondition;
  return MakeError(code, absl::StrCat("the file ", path_, " ", what, ": ", std::strerror(error)),
                   "FILE_NOT_WRITTEN", {{"path", path_}});
}

absl::Status Download::Damaged(const std::string& what) const {
  return MakeError(absl::StatusCode::kDataLoss,
                   absl::StrCat(checkpoint_.name(), " came damaged: ", what,
                                "; try again, and if it comes so again take another checkpoint"),
                   "CHECKPOINT_DAMAGED", {{"checkpoint", checkpoint_.name()}});
}

absl::Status Download::Write(absl::string_view bytes) {
  size_bytes_ += bytes.size();
  if (size_bytes_ > checkpoint_.size_bytes()) {
    return Damaged(absl::StrCat("more bytes than the stated ", checkpoint_.size_bytes()));
  }
  hash_.Update(bytes);
  while (!bytes.empty()) {
    const ssize_t written = write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return Failure("cannot be written");
    bytes.remove_prefix(written);
  }
  return absl::OkStatus();
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
  if (fsync(file_) != 0) return Failure("cannot be written");
  if (rename(part_path_.c_str(), path_.c_str()) != 0) return Failure("cannot be put in its place");
  close(file_);
  file_ = -1;
  SyncFolderOf(path_);
  return absl::OkStatus();
}

}  // namespace evograd
