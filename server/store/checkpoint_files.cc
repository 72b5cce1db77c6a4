#include "server/store/checkpoint_files.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "server/store/data_dir.h"

namespace evograd {
namespace {

absl::Status IoError(const std::string& doing, const std::string& path) {
  const auto code = errno == ENOSPC || errno == EDQUOT ? absl::StatusCode::kResourceExhausted
                                                       : absl::StatusCode::kInternal;
  return absl::Status(code, absl::StrCat(doing, " ", path, ": ", std::strerror(errno)));
}

absl::Status WriteFully(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return IoError("writing", path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Names in a directory, without "." and "..".
std::vector<std::string> Names(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(directory);
  return names;
}

}  // namespace

std::string CheckpointFiles::Folder(const std::string& job_uid) const {
  EVOGRAD_CHECK(!job_uid.empty() && job_uid.find('/') == std::string::npos && job_uid[0] != '.',
                "uids are the coordinator's own");
  return absl::StrCat(directory_, "/", job_uid);
}

std::string CheckpointFiles::Path(const std::string& job_uid,
                                  const v1::Checkpoint& checkpoint) const {
  return absl::StrCat(Folder(job_uid), "/", checkpoint.step(), "-",
                      checkpoint.sha256().substr(0, 16));
}

// ---- Writing ---------------------------------------------------------------------------------

CheckpointFiles::Writer::Writer(std::string folder, std::string path, std::string temporary, int fd,
                                int64_t size, std::string sha256)
    : folder_(std::move(folder)),
      path_(std::move(path)),
      temporary_(std::move(temporary)),
      fd_(fd),
      size_bytes_(size),
      sha256_(std::move(sha256)) {}

CheckpointFiles::Writer::~Writer() {
  close(fd_);
  if (!finished_) unlink(temporary_.c_str());
}

absl::StatusOr<std::unique_ptr<CheckpointFiles::Writer>> CheckpointFiles::Write(
    const std::string& job_uid, const v1::Checkpoint& checkpoint) {
  const std::string folder = Folder(job_uid);
  EVOGRAD_RETURN_IF_ERROR(MakeDirectories(folder));
  const std::string path = Path(job_uid, checkpoint);
  const std::string temporary = absl::StrCat(path, ".", ++temporaries_, ".part");
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return IoError("creating", temporary);
  return std::unique_ptr<Writer>(
      new Writer(folder, path, temporary, fd, checkpoint.size_bytes(), checkpoint.sha256()));
}

absl::Status CheckpointFiles::Writer::Append(absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > size_bytes_ - written_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has more than the stated ", size_bytes_, " bytes"));
  }
  EVOGRAD_RETURN_IF_ERROR(WriteFully(fd_, bytes, temporary_));
  hash_.Update(bytes);
  written_bytes_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status CheckpointFiles::Writer::Finish() {
  const std::string sha256 = hash_.HexDigest();
  if (written_bytes_ != size_bytes_ || sha256 != sha256_) {
    return absl::DataLossError(absl::StrCat("the checkpoint came with ", written_bytes_, " of ",
                                            size_bytes_, " bytes and SHA-256 ", sha256,
                                            ", stated was ", sha256_));
  }
  if (fsync(fd_) != 0) return IoError("syncing", temporary_);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return IoError("renaming", temporary_);
  finished_ = true;
  return SyncDirectory(folder_);
}

// ---- Reading ---------------------------------------------------------------------------------

CheckpointFiles::Reader::~Reader() { close(fd_); }

absl::StatusOr<std::unique_ptr<CheckpointFiles::Reader>> CheckpointFiles::Read(
    const std::string& job_uid, const v1::Checkpoint& checkpoint) const {
  const std::string path = Path(job_uid, checkpoint);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) return std::unique_ptr<Reader>(new Reader(fd, checkpoint));
  const absl::Status error = IoError("opening", path);
  return errno == ENOENT ? absl::DataLossError(error.message()) : error;
}

absl::StatusOr<std::string> CheckpointFiles::Reader::Next() {
  if (ended_) return std::string();
  // One byte more than stated would show here too.
  std::string bytes(limits::kCheckpointChunkBytes, '\0');
  size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t got = read(fd_, &bytes[size], bytes.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return IoError("reading", checkpoint_.name());
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  bytes.resize(size);
  hash_.Update(bytes);
  read_bytes_ += static_cast<int64_t>(size);
  ended_ = size < limits::kCheckpointChunkBytes || read_bytes_ >= checkpoint_.size_bytes();
  if (!ended_) return bytes;
  if (read_bytes_ != checkpoint_.size_bytes() || hash_.HexDigest() != checkpoint_.sha256()) {
    return absl::DataLossError(
        absl::StrCat("checkpoint ", checkpoint_.name(),
                     " is damaged: its file does not have the recorded size and hash"));
  }
  return bytes;
}

// ---- Removing --------------------------------------------------------------------------------

void CheckpointFiles::Remove(const std::string& job_uid, const v1::Checkpoint& checkpoint) {
  unlink(Path(job_uid, checkpoint).c_str());
}

absl::Status CheckpointFiles::RemoveOthers(const std::vector<CheckpointRecord>& records) {
  std::set<std::string> recorded;
  for (const CheckpointRecord& record : records)
    recorded.insert(Path(record.job_uid, record.checkpoint));
  for (const std::string& job_uid : Names(directory_)) {
    const std::string folder = absl::StrCat(directory_, "/", job_uid);
    for (const std::string& name : Names(folder)) {
      const std::string path = absl::StrCat(folder, "/", name);
      if (recorded.count(path) == 0 && unlink(path.c_str()) != 0) return IoError("removing", path);
    }
    // Fails, rightly, while something is in it.
    rmdir(folder.c_str());
  }
  return absl::OkStatus();
}

}  // namespace evograd
