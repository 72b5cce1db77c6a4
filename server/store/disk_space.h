// Room on the disk. Checkpoints may be large and are many; the log of jobs must go on when they
// have filled the disk, and a coordinator must be able to start on a full disk. So an upload is
// refused while there is still room for the log (limits::kDiskFloorBytes), and a file of
// limits::kStoreReserveBytes is kept that is given up when a coordinator finds no room at its
// start. On a small file system both are a twentieth of it.
//
//   DiskSpace space(data_dir->path());
//   const bool short_of_room = space.MakeRoom();   // at the start, before the store is opened
//   space.KeepReserve();                           // when it is open
//   EVOGRAD_RETURN_IF_ERROR(space.CheckRoom(checkpoints_path, bytes));
//
// Threads: any.
#ifndef EVOGRAD_SERVER_STORE_DISK_SPACE_H_
#define EVOGRAD_SERVER_STORE_DISK_SPACE_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>

#include "absl/status/status.h"

namespace evograd {

class DiskSpace {
 public:
  struct Figures {
    int64_t total_bytes = 0;
    // To this user.
    int64_t free_bytes = 0;
    // Tells file systems apart.
    uint64_t device = 0;
  };
  // False where it is not known.
  using Measure = std::function<bool(const std::string& path, Figures* figures)>;

  // Of the file system of `data_dir`, where the store and the reserve lie.
  explicit DiskSpace(std::string data_dir, Measure measure = MeasureDisk);

  // Gives the reserve up where there is hardly any room; whether it is so.
  bool MakeRoom();
  // Makes the reserve where it is missing and there is room for it.
  void KeepReserve();
  // RESOURCE_EXHAUSTED, with the figures: `bytes` more in `folder` would leave too little.
  absl::Status CheckRoom(const std::string& folder, int64_t bytes);

 private:
  static bool MeasureDisk(const std::string& path, Figures* figures);
  std::string ReservePath() const;

  const std::string data_dir_;
  const Measure measure_;
  std::mutex mutex_;
  bool reserve_kept_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_STORE_DISK_SPACE_H_
