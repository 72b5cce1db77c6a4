// The frame of a job's saved state: a safetensors file that anybody's software reads, and in which
// this program notices any byte that changed.
//
//   SafetensorsWriter writer;
//   writer.Add("parameters.fc.weight", "F32", {10, 84}, bytes);
//   std::string file = SealCheckpoint(std::move(writer));
//
//   EVOGRAD_ASSIGN_OR_RETURN(Checkpoint checkpoint, OpenCheckpoint(file));
//   checkpoint.reader.Read("parameters.fc.weight")
//
// Its metadata says `format` ("evograd checkpoint"), `version`, and `sha256`: that of the whole
// file, with zeros in the digest's own place. What grows with a job lies in tensors, since software
// that reads such files takes headers of some megabytes only; version 2 had lambda and the results
// in its header.
//
// Pure. Errors of OpenCheckpoint: DATA_LOSS when the bytes are not whole, FAILED_PRECONDITION when
// they are of a version that is not read.
#ifndef EVOGRAD_WORKER_ENGINE_CHECKPOINT_H_
#define EVOGRAD_WORKER_ENGINE_CHECKPOINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/safetensors.h"
#include "worker/data/safetensors_writer.h"

namespace evograd {

inline constexpr int64_t kCheckpointVersion = 3;
inline constexpr int64_t kOldestReadCheckpointVersion = 2;

// Adds the metadata above and gives the file.
std::string SealCheckpoint(SafetensorsWriter writer, int64_t version = kCheckpointVersion);

struct Checkpoint {
  SafetensorsReader reader;
  int64_t version = 0;  // kOldestReadCheckpointVersion to kCheckpointVersion
};

// `file` outlives the reader.
absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view file);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_CHECKPOINT_H_
