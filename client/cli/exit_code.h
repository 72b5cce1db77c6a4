// What the command's exit codes mean; `evograd help exit-codes` prints this table.
#ifndef EVOGRAD_CLIENT_CLI_EXIT_CODE_H_
#define EVOGRAD_CLIENT_CLI_EXIT_CODE_H_

#include <string>

#include "absl/status/status.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

inline constexpr int kExitOk = 0;
inline constexpr int kExitGeneral = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitNotFound = 3;
inline constexpr int kExitDenied = 4;
inline constexpr int kExitUnreachable = 5;
inline constexpr int kExitTimeout = 6;
inline constexpr int kExitJobFailed = 7;
inline constexpr int kExitJobCancelled = 8;
inline constexpr int kExitInterrupted = 130;

int ExitCodeOf(const absl::Status& status);
// Of a job that has ended.
int ExitCodeOf(v1::JobState state);

std::string ExitCodesHelp();

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_EXIT_CODE_H_
