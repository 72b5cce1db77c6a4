// MetaXL (M. Xia et al., NAACL 2021): an encoder and a head are trained on a source language's
// sentences, whose hidden states pass through a transformation by lambda
// (RepresentationTransformation), and on a few of a target language; the validation loss is the
// target language's.
//
// A step's target batch is cut in two, as the published code cuts it: the first half is trained on,
// the second validates. The training loss is the mean over the source's labels plus the mean over
// the target's. TARGET_ONLY and JOINT, which learn no lambda (it is empty), train on both halves.
//
// Of what members share, everything below the first perturbed layer and, for source sentences,
// below the transformation, runs once (PrepareMembers), with one draw of that part's dropout for
// all.
//
// Metrics (worker/problems/metaxl_score.h) of target_dev, target_test and source_dev. Target
// sentences are never transformed; source_dev is, as in training, where training is METAXL.
#ifndef EVOGRAD_WORKER_PROBLEMS_METAXL_H_
#define EVOGRAD_WORKER_PROBLEMS_METAXL_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// Reads the sentences, the tokenizer and the encoder's configuration; its weights are read by
// Initialise. `spec` is resolved and its problem is metaxl; `device` is "cpu" or "cuda:N";
// `cancelled` lives as long as the problem. Errors: those of ReadMetaXlData, ReadXlmrConfig,
// SentencePieceTokenizer::Open and MetaXlModel::Create; INVALID_ARGUMENT when tokenizer and encoder
// do not belong together. Initialise: those of SafetensorsReader and LoadInto.
absl::StatusOr<std::unique_ptr<Problem>> MakeMetaXl(const v1::JobSpec& spec,
                                                    const std::string& device,
                                                    const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_METAXL_H_
