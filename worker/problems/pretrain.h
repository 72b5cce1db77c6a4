// Pretraining of a backbone: plain supervised training with a linear classifier on the mean of each
// feature map, on the base classes of one or more domains, with the few-shot training transform. A
// job's checkpoint is what an lft job takes as `pretrained`.
//
// There are no hyperparameters (estimator NONE) and no validation batch. Theta is the backbone
// ("feature.") and the classifier ("classifier."). Of each class the job's held_out_share, a random
// choice by the seed, is kept from training.
//
// Metrics: accuracy and loss on the held-out pictures, without augmentation and with running
// statistics; on those of training where none is held out.
#ifndef EVOGRAD_WORKER_PROBLEMS_PRETRAIN_H_
#define EVOGRAD_WORKER_PROBLEMS_PRETRAIN_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// Reads the file lists. `spec` is resolved and its problem is pretrain; `device` is "cpu" or
// "cuda:N"; `cancelled` lives as long as the problem. Errors: those of ReadImageList;
// INVALID_ARGUMENT when all domains together have one class; those of ImageLoader from the
// functions that read pictures.
absl::StatusOr<std::unique_ptr<Problem>> MakePretrain(const v1::JobSpec& spec,
                                                      const std::string& device,
                                                      const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_PRETRAIN_H_
