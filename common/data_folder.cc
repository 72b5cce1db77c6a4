#include "common/data_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/errno_status.h"
#include "common/folders.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"

namespace evograd {
namespace {

constexpr char kSqliteMagic[] = "SQLite format 3";
constexpr size_t kHeaderBytes = 100;
constexpr int kNamedStrangers = 3;

// -1 where there is no regular file.
int64_t FileSize(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) ? int64_t{info.st_size} : -1;
}

bool Exists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

// The first bytes of a small file; empty where it is none, or larger.
std::string SmallFile(const std::string& path, int64_t max_bytes) {
  const int64_t size = FileSize(path);
  if (size <= 0 || size > max_bytes) return "";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return "";
  std::string text(static_cast<size_t>(size), '\0');
  const ssize_t got = read(fd, &text[0], text.size());
  close(fd);
  return got == size ? text : "";
}

bool AllDigits(absl::string_view text) {
  return std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
}

// A process id, or nothing yet.
bool IsOurLock(const std::string& path) {
  if (FileSize(path) == 0) return true;
  const std::string text = SmallFile(path, 20);
  return !text.empty() && AllDigits(absl::StripAsciiWhitespace(text));
}

// host:port, a socket's path, or nothing yet.
bool IsOurAddress(const std::string& path) {
  if (FileSize(path) == 0) return true;
  const std::string text = SmallFile(path, 300);
  const absl::string_view line = absl::StripAsciiWhitespace(text);
  if (UnixSocketPath(line).ok()) return true;
  const size_t colon = line.rfind(':');
  return colon != absl::string_view::npos && colon + 1 < line.size() &&
         AllDigits(line.substr(colon + 1)) && line.find('\n') == absl::string_view::npos;
}

bool IsOurLogs(const std::string& path) {
  const auto names = NamesIn(path);
  return names.ok() && std::all_of(names->begin(), names->end(), [](absl::string_view name) {
           if (!absl::ConsumeSuffix(&name, ".log")) return false;
           return name == "coordinator" ||
                  (absl::ConsumePrefix(&name, "local-") && AllDigits(name));
         });
}

// The root of a file system of one's own has it.
bool IsLostAndFound(absl::string_view name) { return name == "lost+found"; }

bool HoldsNothing(const std::string& folder) {
  const auto names = NamesIn(folder);
  return names.ok() && std::all_of(names->begin(), names->end(), IsLostAndFound);
}

bool IsSocket(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode);
}

// Whether a coordinator that never had a store, or the program that started it, left this.
bool IsLeftover(const std::string& folder, const std::string& name) {
  const std::string path = absl::StrCat(folder, "/", name);
  if (name == kLockName) return IsOurLock(path);
  if (name == kAddressName || absl::StartsWith(name, absl::StrCat(kAddressName, ".")))
    return IsOurAddress(path);
  if (name == kSocketName) return IsSocket(path);
  if (name == kStoreName) return FileSize(path) == 0;
  if (name == kLogsName) return IsOurLogs(path);
  if (name == kCheckpointsName) return HoldsNothing(path);
  return name == kReserveName || absl::StartsWith(name, kNewStoreName) || IsLostAndFound(name);
}

absl::Status Refusal(const std::string& path, const std::vector<std::string>& strangers) {
  const size_t named = std::min<size_t>(strangers.size(), kNamedStrangers);
  std::string list =
      absl::StrJoin(strangers.begin(), strangers.begin() + static_cast<ptrdiff_t>(named), ", ");
  if (strangers.size() > named) absl::StrAppend(&list, " and ", strangers.size() - named, " more");
  const bool checkpoints =
      std::find(strangers.begin(), strangers.end(), kCheckpointsName) != strangers.end();
  return absl::FailedPreconditionError(absl::StrCat(
      "the folder ", path, " is not empty and has no coordinator's store in it, but it has ", list,
      "; nothing there was touched. Give a new or an empty folder",
      checkpoints ? ", or, if these are a coordinator's checkpoints, put its store.sqlite back"
                  : ""));
}

}  // namespace

absl::StatusOr<StoreKind> InspectStore(const std::string& path) {
  const bool log = FileSize(path + "-wal") > 0;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT) return ErrnoStatus(errno, absl::StrCat("opening ", path));
  unsigned char header[kHeaderBytes] = {};
  ssize_t got = 0;
  int64_t size = 0;
  if (fd >= 0) {
    got = pread(fd, header, sizeof(header), 0);
    const int error = errno;
    size = lseek(fd, 0, SEEK_END);
    close(fd);
    if (got < 0) return ErrnoStatus(error, absl::StrCat("reading ", path));
  }
  if (got == 0 && log) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " is missing or empty, but its log ", path,
                     "-wal is there; put the store back beside its log, or move the log away"));
  }
  if (got == 0) return StoreKind::kNone;
  if (got < static_cast<ssize_t>(kHeaderBytes) ||
      std::memcmp(header, kSqliteMagic, sizeof(kSqliteMagic)) != 0) {
    return absl::DataLossError(absl::StrCat(
        path, " is not an SQLite database, or is damaged; put a good copy of it back"));
  }
  // The format's fields are big-endian: page size at 16, application id at 68.
  const uint32_t application = uint32_t{header[68]} << 24 | uint32_t{header[69]} << 16 |
                               uint32_t{header[70]} << 8 | uint32_t{header[71]};
  const int64_t page = (header[16] << 8 | header[17]) == 1 ? 65536 : header[16] << 8 | header[17];
  if (application == kStoreApplicationId) return StoreKind::kOurs;
  if (application == 0 && size <= page) return StoreKind::kYoung;
  return absl::FailedPreconditionError(absl::StrCat(
      path, " was not written by EvoGrad's coordinator; give the coordinator another folder"));
}

absl::Status CheckDataFolder(const std::string& path) {
  const auto names = NamesIn(path);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  const std::string lock = absl::StrCat(path, "/", kLockName);
  if (Exists(lock) && !IsOurLock(lock)) {
    return absl::FailedPreconditionError(absl::StrCat(
        lock, " was not written by a coordinator; give the coordinator another folder"));
  }
  EVOGRAD_ASSIGN_OR_RETURN(const StoreKind kind, InspectStore(absl::StrCat(path, "/", kStoreName)));
  if (kind != StoreKind::kNone) return absl::OkStatus();
  std::vector<std::string> strangers;
  for (const std::string& name : *names) {
    if (!IsLeftover(path, name)) strangers.push_back(name);
  }
  return strangers.empty() ? absl::OkStatus() : Refusal(path, strangers);
}

}  // namespace evograd
