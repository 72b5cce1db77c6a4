// Meta-Weight-Net (J. Shu et al., NeurIPS 2019): a weighting net, whose parameters are the
// hyperparameters, gives each training example a weight from its loss; the clean meta set says
// which weighting is good. Labels of training images are noisy as the job asks.
//
// A batch holds images [N, channels, rows, columns], normalised, and labels int64 [N]; what members
// are given also holds the base point's losses [N], from which their weights come, unless members
// weigh by their own losses. Batch norm uses the batch's statistics in training and validation
// losses, the running ones in Evaluate.
//
// Evaluate's metrics: `accuracy` and `test_loss` on the test images with their true labels; of a
// sample of training images, unaugmented, `noisy_share` (of labels that are wrong),
// `wrong_labels_learnt` (the share of wrong labels that the network answers) and, where weights are
// learned, `weight_clean` and `weight_noisy`, the mean weights of rightly and wrongly labelled
// ones, `weight_deviation`, their standard deviation, and `effective_examples` = (sum w)^2 / (N sum
// w^2), 1 when all weights are the same. It warns when the weights have collapsed: all near zero,
// all the same, or one with nearly everything.
//
// Artifacts: noise_matrix float64 [C, C], row the true class; and, as numbers of images in the
// training file(s), all int64: meta_ids, train_ids, flipped_ids (those of train_ids whose label is
// wrong); noisy_labels, the labels of train_ids.
#ifndef EVOGRAD_WORKER_PROBLEMS_META_WEIGHT_NET_H_
#define EVOGRAD_WORKER_PROBLEMS_META_WEIGHT_NET_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// Reads the images. `spec` is resolved and its problem is meta_weight_net; `device` is "cpu" or
// "cuda:N"; `cancelled` lives as long as the problem. Errors: those of ReadImageData and SplitMeta;
// INVALID_ARGUMENT, naming the field, when the files do not fit the job.
absl::StatusOr<std::unique_ptr<Problem>> MakeMetaWeightNet(const v1::JobSpec& spec,
                                                           const std::string& device,
                                                           const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_META_WEIGHT_NET_H_
