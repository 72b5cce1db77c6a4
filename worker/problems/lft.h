// Learned feature-wise transformation (H.-Y. Tseng et al., ICLR 2020) as the EvoGrad paper has it:
// a RelationNet (softmax form) learns from episodes of a pseudo-seen domain, through feature-wise
// transformations of which lambda holds the spreads; lambda minimises the loss on episodes of a
// pseudo-unseen domain, without transformations.
//
//   training loss    mean over episodes of the cross-entropy of the queries' scores, the batch's
//                    statistics in batch normalisation, with transformations; plus the weighted
//                    auxiliary cross-entropy on base classes of the auxiliary domain, running
//                    statistics, no transformations
//   validation loss  the mean over episodes, running statistics, no transformations
//
// Theta is the backbone ("feature."), the relation module ("relation_module.") and the auxiliary
// classifier ("auxiliary."), which members share. Members leave the auxiliary loss out, as the
// published code does (lambda has no part in it), unless one of them is the base pass
// (EVOGRAD_SHARED), to whose loss theirs are compared. Episodes of a shard follow one another, each
// with batch statistics of its own.
//
// Hyperparameters: none where the transformation is NONE; they keep their first values where it is
// FIXED. The base update comes first.
//
// Metrics, DOMAIN in lower case and with _ for - and .: at the end accuracy_DOMAIN and
// interval_DOMAIN (the 95 % interval's half) of each test domain's novel classes; between steps
// validation_accuracy_DOMAIN and validation_interval_DOMAIN of each seen domain's validation
// classes. Both: the means gamma and beta of lambda where it is learned.
#ifndef EVOGRAD_WORKER_PROBLEMS_LFT_H_
#define EVOGRAD_WORKER_PROBLEMS_LFT_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// Reads the file lists. `spec` is resolved and its problem is lft; `device` is "cpu" or "cuda:N";
// `cancelled` lives as long as the problem. Errors: those of ReadImageList and CheckClasses; those
// of LoadPretrained from Initialise; those of ImageLoader from the functions that read pictures.
absl::StatusOr<std::unique_ptr<Problem>> MakeLft(const v1::JobSpec& spec, const std::string& device,
                                                 const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_LFT_H_
