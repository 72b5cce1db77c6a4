#include "client/cli/exit_code.h"

namespace evograd {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kInvalidArgument:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return kExitNotFound;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return kExitDenied;
    case absl::StatusCode::kUnavailable:
      return kExitUnreachable;
    case absl::StatusCode::kDeadlineExceeded:
      return kExitTimeout;
    case absl::StatusCode::kCancelled:
      return kExitInterrupted;
    default:
      return kExitGeneral;
  }
}

int ExitCodeOf(v1::JobState state) {
  switch (state) {
    case v1::SUCCEEDED:
      return kExitOk;
    case v1::FAILED:
      return kExitJobFailed;
    case v1::CANCELLED:
      return kExitJobCancelled;
    default:
      return kExitGeneral;
  }
}

std::string ExitCodesHelp() {
  return R"(Exit codes of evograd:
  0    all went well; of run, resume, wait, watch and submit --wait: the job succeeded
  1    an error that has no code of its own; the message says which
  2    the command line or a job file is wrong
  3    there is no such job, worker or checkpoint
  4    not allowed
  5    no coordinator answers, or one that stopped did not come back
  6    the time given with --timeout is over
  7    the job failed
  8    the job was cancelled
  130  interrupted by Ctrl-C; the job goes on, after run and resume at the next resume
)";
}

}  // namespace evograd
