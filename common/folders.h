// Folders that belong to this user alone and outlive a power cut.
#ifndef EVOGRAD_COMMON_FOLDERS_H_
#define EVOGRAD_COMMON_FOLDERS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace evograd {

// Creates `path` and its parents where they are missing, mode 0700 whatever the umask, and makes
// their names durable. Errors: errno_status.h; FAILED_PRECONDITION: there is something that is no
// folder.
absl::Status MakeFolders(const std::string& path);

// What was created in or renamed into the folder is durable, as far as its file system can promise:
// some network and user file systems cannot sync a folder, and say so; that is no error.
absl::Status SyncFolder(const std::string& path);

// The names in a folder in their order, without "." and "..".
absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_COMMON_FOLDERS_H_
