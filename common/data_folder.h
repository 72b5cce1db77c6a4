// Whose a folder is that is named as a coordinator's data folder. Only reads: it is asked before
// anything is put there, so that a folder of somebody else's stays as it is.
//
//   EVOGRAD_RETURN_IF_ERROR(CheckDataFolder(path));
#ifndef EVOGRAD_COMMON_DATA_FOLDER_H_
#define EVOGRAD_COMMON_DATA_FOLDER_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

// Names in the folder that a coordinator, or the program that starts it, makes.
inline constexpr char kLockName[] = "lock";
inline constexpr char kStoreName[] = "store.sqlite";
// A store that is being made; it gets its name when it is whole.
inline constexpr char kNewStoreName[] = ".evograd-new-store";
inline constexpr char kReserveName[] = ".evograd-reserve";
inline constexpr char kCheckpointsName[] = "checkpoints";
inline constexpr char kLogsName[] = "logs";
inline constexpr char kAddressName[] = "address";
inline constexpr char kSocketName[] = "socket";

// "EvoG", in the header of the store, tells it from other programs' SQLite databases.
inline constexpr uint32_t kStoreApplicationId = 0x45766F47;

enum class StoreKind {
  kNone,  // no file, or an empty one
  kOurs,
  // An SQLite database of one page, to which a coordinator may have given its mark in the log
  // beside it: SQLite has to look.
  kYoung,
};

// By the first bytes of the file. FAILED_PRECONDITION: it is another program's database, or there
// is a log that belongs to a missing store; DATA_LOSS: it is no SQLite database, or damaged.
absl::StatusOr<StoreKind> InspectStore(const std::string& path);

// OK: there is no such folder, or it is empty, or has a coordinator's store, or nothing but what a
// coordinator leaves that ended before it had one. FAILED_PRECONDITION: it holds other things,
// which the message names; other errors as InspectStore.
absl::Status CheckDataFolder(const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_DATA_FOLDER_H_
