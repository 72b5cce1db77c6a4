// The backbone that a job names, and its first weights from a file.
#ifndef EVOGRAD_WORKER_PROBLEMS_JOB_BACKBONE_H_
#define EVOGRAD_WORKER_PROBLEMS_JOB_BACKBONE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "proto/evograd/v1/lft.pb.h"
#include "worker/models/backbone.h"

namespace evograd {

// `backbone` is resolved.
std::shared_ptr<Backbone> MakeBackbone(v1::Backbone backbone);

// Overwrites all parameters and running statistics of `backbone` with those of a safetensors file:
// its tensors named parameters.feature.* and buffers.feature.* (a checkpoint of a pretrain or an
// lft job) or feature.*. Others in the file are not looked at, nor are batch normalisation's
// counters of batches (num_batches_tracked). Errors: those of SafetensorsReader; INVALID_ARGUMENT
// names tensors that are missing, have another shape or that the backbone does not have. Throws
// what LibTorch throws.
absl::Status LoadPretrained(const std::string& path, Backbone* backbone);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_JOB_BACKBONE_H_
