#include "server/store/disk_space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/data_folder.h"
#include "common/service_limits.h"

namespace evograd {
namespace {

int64_t Share(int64_t bytes, const DiskSpace::Figures& figures) {
  return std::min(bytes, figures.total_bytes / 20);
}

int64_t ReserveBytes(const DiskSpace::Figures& figures) {
  return Share(limits::kStoreReserveBytes, figures);
}

int64_t FloorBytes(const DiskSpace::Figures& figures) {
  return Share(limits::kDiskFloorBytes, figures);
}

std::string Megabytes(int64_t bytes) {
  return absl::StrFormat("%.1f MB", static_cast<double>(bytes) / 1e6);
}

}  // namespace

DiskSpace::DiskSpace(std::string data_dir, Measure measure)
    : data_dir_(std::move(data_dir)), measure_(std::move(measure)) {}

bool DiskSpace::MeasureDisk(const std::string& path, Figures* figures) {
  struct statvfs disk;
  struct stat folder;
  if (statvfs(path.c_str(), &disk) != 0 || stat(path.c_str(), &folder) != 0) return false;
  // Some user file systems do not say.
  if (disk.f_blocks == 0) return false;
  const int64_t unit = static_cast<int64_t>(disk.f_frsize);
  figures->total_bytes = unit * static_cast<int64_t>(disk.f_blocks);
  figures->free_bytes = unit * static_cast<int64_t>(disk.f_bavail);
  figures->device = folder.st_dev;
  return true;
}

std::string DiskSpace::ReservePath() const { return absl::StrCat(data_dir_, "/", kReserveName); }

bool DiskSpace::MakeRoom() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Figures figures;
  if (!measure_(data_dir_, &figures) || figures.free_bytes >= ReserveBytes(figures)) return false;
  unlink(ReservePath().c_str());
  reserve_kept_ = false;
  return true;
}

void DiskSpace::KeepReserve() {
  const std::lock_guard<std::mutex> lock(mutex_);
  Figures figures;
  if (reserve_kept_ || !measure_(data_dir_, &figures)) return;
  const int64_t bytes = ReserveBytes(figures);
  struct stat info;
  if (stat(ReservePath().c_str(), &info) == 0 && int64_t{info.st_blocks} * 512 >= bytes) {
    reserve_kept_ = true;
    return;
  }
  if (figures.free_bytes < bytes + FloorBytes(figures)) return;
  const int fd =
      open(ReservePath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return;
  reserve_kept_ = posix_fallocate(fd, 0, bytes) == 0;
  close(fd);
  if (!reserve_kept_) unlink(ReservePath().c_str());
}

absl::Status DiskSpace::CheckRoom(const std::string& folder, int64_t bytes) {
  Figures figures, store;
  if (!measure_(folder, &figures) || !measure_(data_dir_, &store)) return absl::OkStatus();
  // A file system of the checkpoints' own may be filled to the last byte.
  const int64_t floor = figures.device == store.device ? FloorBytes(figures) : 0;
  if (figures.free_bytes - bytes < floor) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the coordinator's disk is too full: ", folder, " has ", Megabytes(figures.free_bytes),
        " free, uploads under way and this one need ", Megabytes(bytes), " and ", Megabytes(floor),
        " stay free for the log of jobs; make room there"));
  }
  KeepReserve();
  return absl::OkStatus();
}

}  // namespace evograd
