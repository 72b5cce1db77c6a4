#include "server/store/checkpoint_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/errno_status.h"
#include "common/folders.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

// A disk that fails to read a file so often in a row has lost it.
constexpr int kReadTries = 3;
constexpr int kNamedStrangers = 3;
constexpr char kUnknownFolder[] = "unknown";

absl::Status WriteFully(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, absl::StrCat("writing ", path));
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// Errors that say nothing of the one file: this process may open no more, or may not look, or the
// whole file system is away.
bool IsOfTheMachine(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EACCES:
    case EPERM:
    case ENODEV:
    case ENXIO:
    case ENOTCONN:
    case ESTALE:
    case ETIMEDOUT:
    case EHOSTDOWN:
      return true;
    default:
      return false;
  }
}

absl::Status Unreadable(const std::string& name, int error) {
  if (IsOfTheMachine(error)) return ErrnoStatus(error, absl::StrCat("reading ", name));
  return absl::DataLossError(absl::StrCat(
      "checkpoint ", name, " is damaged: its file cannot be read: ", std::strerror(error)));
}

bool IsHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

bool IsUuid(absl::string_view name) {
  constexpr size_t kLengths[] = {8, 4, 4, 4, 12};
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '-');
  if (parts.size() != 5) return false;
  for (size_t i = 0; i < 5; ++i) {
    if (parts[i].size() != kLengths[i] || !IsHex(parts[i])) return false;
  }
  return true;
}

std::string NameOf(const v1::Checkpoint& checkpoint) {
  return absl::StrCat(checkpoint.step(), "-", checkpoint.sha256().substr(0, 16));
}

// {step}-{16 digits}, and for an unfinished one .{number}.part behind it.
bool ParseName(absl::string_view name, int64_t* step, bool* unfinished) {
  const std::vector<absl::string_view> dots = absl::StrSplit(name, '.');
  *unfinished = dots.size() == 3;
  int64_t number = 0;
  if (*unfinished && (dots[2] != "part" || !absl::SimpleAtoi(dots[1], &number))) return false;
  if (!*unfinished && dots.size() != 1) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(dots[0], '-');
  return parts.size() == 2 && absl::SimpleAtoi(parts[0], step) && *step >= 0 &&
         parts[0] == absl::StrCat(*step) && parts[1].size() == 16 && IsHex(parts[1]);
}

bool IsRegularFile(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

// What there is no longer; a disk that fails says so in other words.
bool IsGone(int error) { return error == ENOENT || error == ENOTDIR; }

// OK where it is there.
absl::Status CheckFolder(const std::string& folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return absl::OkStatus();
  if (!IsGone(errno)) return ErrnoStatus(errno, absl::StrCat("looking at ", folder));
  return absl::UnavailableError(absl::StrCat(
      folder,
      " is not there at all; is its file system mounted? Where it is lost for good, an "
      "empty folder in its place says so"));
}

std::vector<std::string> NamesOrNone(const std::string& path) {
  absl::StatusOr<std::vector<std::string>> names = NamesIn(path);
  return names.ok() ? *std::move(names) : std::vector<std::string>();
}

}  // namespace

CheckpointFiles::CheckpointFiles(std::string directory, DiskSpace* space)
    : directory_(std::move(directory)), space_(space), identity_(IdentityOf(directory_)) {}

CheckpointFiles::Identity CheckpointFiles::IdentityOf(const std::string& folder) {
  struct stat info;
  if (stat(folder.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino};
}

absl::Status CheckpointFiles::CheckThere() const {
  struct stat info;
  if (stat(directory_.c_str(), &info) != 0 && !IsGone(errno))
    return ErrnoStatus(errno, absl::StrCat("looking at ", directory_));
  if (IdentityOf(directory_) == identity_) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(directory_,
                   " is not the folder that it was when the coordinator started; is "
                   "its file system mounted? Where that is as it should be, start the "
                   "coordinator again"));
}

std::string CheckpointFiles::Folder(const std::string& job_uid) const {
  EVOGRAD_CHECK(!job_uid.empty() && job_uid.find('/') == std::string::npos && job_uid[0] != '.',
                "uids are the coordinator's own");
  return absl::StrCat(directory_, "/", job_uid);
}

std::string CheckpointFiles::Path(const std::string& job_uid,
                                  const v1::Checkpoint& checkpoint) const {
  return absl::StrCat(Folder(job_uid), "/", NameOf(checkpoint));
}

// ---- Writing ---------------------------------------------------------------------------------

CheckpointFiles::Writer::Writer(CheckpointFiles* files, std::string folder, std::string path,
                                std::string temporary, int fd, const v1::Checkpoint& checkpoint)
    : files_(*files),
      folder_(std::move(folder)),
      path_(std::move(path)),
      temporary_(std::move(temporary)),
      fd_(fd),
      size_bytes_(checkpoint.size_bytes()),
      sha256_(checkpoint.sha256()) {}

CheckpointFiles::Writer::~Writer() {
  close(fd_);
  if (!finished_) unlink(temporary_.c_str());
  const std::lock_guard<std::mutex> lock(files_.mutex_);
  files_.promised_bytes_ -= size_bytes_ - written_bytes_;
}

absl::Status CheckpointFiles::Promise(int64_t bytes) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (space_ != nullptr)
    EVOGRAD_RETURN_IF_ERROR(space_->CheckRoom(directory_, promised_bytes_ + bytes));
  promised_bytes_ += bytes;
  return absl::OkStatus();
}

absl::Status CheckpointFiles::Unwritable(const std::string& folder,
                                         const absl::Status& status) const {
  if (!absl::IsNotFound(status)) return status;
  EVOGRAD_RETURN_IF_ERROR(CheckThere());
  EVOGRAD_RETURN_IF_ERROR(CheckFolder(folder));
  // It is back by now.
  return absl::UnavailableError(status.message());
}

absl::Status CheckpointFiles::MakeJobFolder(const std::string& job_uid) {
  EVOGRAD_RETURN_IF_ERROR(CheckThere());
  const std::string folder = Folder(job_uid);
  const std::lock_guard<std::mutex> lock(mutex_);
  // In an empty one each checkpoint of the job would look lost.
  if (have_folders_.count(job_uid) > 0) return CheckFolder(folder);
  EVOGRAD_RETURN_IF_ERROR(MakeFolders(folder));
  have_folders_.insert(job_uid);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<CheckpointFiles::Writer>> CheckpointFiles::Write(
    const std::string& job_uid, const v1::Checkpoint& checkpoint) {
  const std::string folder = Folder(job_uid);
  EVOGRAD_RETURN_IF_ERROR(MakeJobFolder(job_uid));
  const std::string path = Path(job_uid, checkpoint);
  const std::string temporary = absl::StrCat(path, ".", ++temporaries_, ".part");
  EVOGRAD_RETURN_IF_ERROR(Promise(checkpoint.size_bytes()));
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0)
    return std::unique_ptr<Writer>(new Writer(this, folder, path, temporary, fd, checkpoint));
  const int error = errno;
  const std::lock_guard<std::mutex> lock(mutex_);
  promised_bytes_ -= checkpoint.size_bytes();
  return Unwritable(folder, ErrnoStatus(error, absl::StrCat("creating ", temporary)));
}

absl::Status CheckpointFiles::Writer::Append(absl::string_view bytes) {
  if (static_cast<int64_t>(bytes.size()) > size_bytes_ - written_bytes_) {
    return absl::InvalidArgumentError(
        absl::StrCat("the checkpoint has more than the stated ", size_bytes_, " bytes"));
  }
  EVOGRAD_RETURN_IF_ERROR(WriteFully(fd_, bytes, temporary_));
  hash_.Update(bytes);
  written_bytes_ += static_cast<int64_t>(bytes.size());
  const std::lock_guard<std::mutex> lock(files_.mutex_);
  files_.promised_bytes_ -= static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::Status CheckpointFiles::Writer::Finish() {
  const std::string sha256 = hash_.HexDigest();
  if (written_bytes_ != size_bytes_ || sha256 != sha256_) {
    return absl::DataLossError(absl::StrCat("the checkpoint came with ", written_bytes_, " of ",
                                            size_bytes_, " bytes and SHA-256 ", sha256,
                                            ", stated was ", sha256_));
  }
  if (fsync(fd_) != 0) return ErrnoStatus(errno, absl::StrCat("syncing ", temporary_));
  if (rename(temporary_.c_str(), path_.c_str()) != 0)
    return files_.Unwritable(folder_, ErrnoStatus(errno, absl::StrCat("renaming ", temporary_)));
  finished_ = true;
  return files_.Unwritable(folder_, SyncFolder(folder_));
}

// ---- Reading ---------------------------------------------------------------------------------

CheckpointFiles::Reader::~Reader() { close(fd_); }

absl::StatusOr<std::unique_ptr<CheckpointFiles::Reader>> CheckpointFiles::Read(
    const std::string& job_uid, const v1::Checkpoint& checkpoint) const {
  const std::string path = Path(job_uid, checkpoint);
  int error = 0;
  for (int i = 0; i < kReadTries; ++i) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return std::unique_ptr<Reader>(new Reader(fd, checkpoint));
    error = errno;
  }
  // A file that is lost leaves its folder, and one bad file in it does not keep others from being
  // opened; a disk that is away or dead takes all.
  const std::string folder = Folder(job_uid);
  if (error == ENOENT) {
    EVOGRAD_RETURN_IF_ERROR(CheckThere());
    EVOGRAD_RETURN_IF_ERROR(CheckFolder(folder));
  }
  if (error == EIO) return ErrnoStatus(error, absl::StrCat("opening ", path));
  return Unreadable(checkpoint.name(), error);
}

int CheckpointFiles::Reader::ReadChunk(std::string* bytes) {
  size_t size = 0;
  int tries = 0;
  while (size < bytes->size()) {
    const ssize_t got =
        pread(fd_, &(*bytes)[size], bytes->size() - size, read_bytes_ + static_cast<off_t>(size));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && ++tries < kReadTries) continue;
    if (got < 0) return errno;
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  bytes->resize(size);
  return 0;
}

absl::StatusOr<std::string> CheckpointFiles::Reader::Next() {
  if (ended_) return std::string();
  // One byte more than stated would show here too.
  std::string bytes(limits::kCheckpointChunkBytes, '\0');
  if (const int error = ReadChunk(&bytes); error != 0) return Unreadable(checkpoint_.name(), error);
  hash_.Update(bytes);
  read_bytes_ += static_cast<int64_t>(bytes.size());
  ended_ = bytes.size() < limits::kCheckpointChunkBytes || read_bytes_ >= checkpoint_.size_bytes();
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

bool CheckpointFiles::SetAside(const std::string& job_uid, const v1::Checkpoint& checkpoint) {
  return MoveAside(job_uid, NameOf(checkpoint));
}

void CheckpointFiles::RemoveUnfinished() {
  for (const std::string& job_uid : NamesOrNone(directory_)) {
    if (!IsUuid(job_uid)) continue;
    const std::string folder = absl::StrCat(directory_, "/", job_uid);
    for (const std::string& name : NamesOrNone(folder)) {
      const std::string path = absl::StrCat(folder, "/", name);
      int64_t step = 0;
      bool unfinished = false;
      if (ParseName(name, &step, &unfinished) && unfinished && IsRegularFile(path))
        unlink(path.c_str());
    }
  }
}

bool CheckpointFiles::MoveAside(const std::string& job_uid, const std::string& name) {
  const std::string folder = absl::StrCat(directory_, "/", kUnknownFolder, "/", job_uid);
  if (!MakeFolders(folder).ok()) return false;
  const std::string from = absl::StrCat(directory_, "/", job_uid, "/", name);
  const std::string to = absl::StrCat(folder, "/", name);
  struct stat info;
  // Another of the same name is there from an earlier time: neither is touched.
  if (lstat(to.c_str(), &info) == 0 || rename(from.c_str(), to.c_str()) != 0) return false;
  return SyncFolder(folder).ok();
}

CheckpointFiles::Tidied CheckpointFiles::Tidy(const Snapshot& snapshot, Room room) {
  std::set<std::string> recorded, recorded_jobs;
  // By job, the step up to which what is not recorded goes.
  std::map<std::string, int64_t> replaced;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const CheckpointRecord& record : snapshot.checkpoints) {
      const std::string path = Path(record.job_uid, record.checkpoint);
      recorded.insert(path);
      recorded_jobs.insert(record.job_uid);
      have_folders_.insert(record.job_uid);
      int64_t& step = replaced.try_emplace(record.job_uid, -1).first->second;
      if (IsRegularFile(path)) step = std::max(step, record.checkpoint.step());
    }
  }
  if (room == Room::kNone) {
    for (const JobRecord& record : snapshot.jobs) {
      replaced[record.job.uid()] = record.job.committed_steps();
    }
  }
  Tidied tidied;
  const auto stranger = [&](const std::string& path) {
    if (++tidied.strangers <= kNamedStrangers) tidied.stranger_names.push_back(path);
  };
  for (const std::string& job_uid : NamesOrNone(directory_)) {
    if (job_uid == kUnknownFolder || job_uid == "lost+found") continue;
    const std::string folder = absl::StrCat(directory_, "/", job_uid);
    if (!IsUuid(job_uid)) {
      stranger(folder);
      continue;
    }
    for (const std::string& name : NamesOrNone(folder)) {
      const std::string path = absl::StrCat(folder, "/", name);
      int64_t step = 0;
      bool unfinished = false;
      if (recorded.count(path) > 0) continue;
      if (!ParseName(name, &step, &unfinished) || !IsRegularFile(path)) {
        stranger(path);
        continue;
      }
      const auto last = replaced.find(job_uid);
      if (unfinished || (last != replaced.end() && step <= last->second)) {
        tidied.removed += unlink(path.c_str()) == 0;
      } else {
        tidied.set_aside += MoveAside(job_uid, name);
      }
    }
    // Fails, rightly, while something is in it. That one is there tells a lost file from a file
    // system that is away.
    if (recorded_jobs.count(job_uid) == 0) rmdir(folder.c_str());
  }
  return tidied;
}

}  // namespace evograd
