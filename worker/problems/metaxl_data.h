// The sentences of a MetaXL job, as token ids and labels.
//
//   EVOGRAD_ASSIGN_OR_RETURN(MetaXlData data, ReadMetaXlData(spec, tokenizer, 512, cancelled));
//   Batch batch = MakeExampleBatch(data.target_train, {0, 3}, tokenizer.pad_id(), options);
//
// Threads: pure functions of the files. Errors: those of the readers; NOT_FOUND for a language
// whose folder is missing; INVALID_ARGUMENT naming the field where files hold less than the job
// uses; DATA_LOSS naming file and line for a sentence that does not fit and may not be cut.
#ifndef EVOGRAD_WORKER_PROBLEMS_METAXL_DATA_H_
#define EVOGRAD_WORKER_PROBLEMS_METAXL_DATA_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "proto/evograd/v1/metaxl.pb.h"
#include "worker/data/bio.h"
#include "worker/data/label_set.h"
#include "worker/data/sentencepiece_tokenizer.h"
#include "worker/problems/problem.h"

namespace evograd {

struct Example {
  std::vector<int64_t> ids;  // special tokens included
  // Tagging: where each word's first piece is, and each word's label. A word that truncation left
  // out has a label and no place; they are the last ones.
  std::vector<int64_t> places;
  // Classification: one.
  std::vector<int> labels;
};

using Examples = std::vector<Example>;

struct MetaXlData {
  LabelSet labels;
  absl::optional<TagSet> tags;  // tagging: of `labels`
  Examples source_train;        // of all source languages; empty without any
  Examples source_dev;
  Examples target_train;
  Examples target_dev;
  Examples target_test;
};

// `spec` is resolved; `max_tokens` is the encoder's longest sequence. Which training sentences are
// used is a pure function of files and `data_seed`.
absl::StatusOr<MetaXlData> ReadMetaXlData(const v1::MetaXl& spec,
                                          const SentencePieceTokenizer& tokenizer,
                                          int64_t max_tokens, const std::atomic<bool>& cancelled);

// What stands for "no label" among a sequence's labels.
inline constexpr int64_t kNoLabel = -100;

// Four tensors whose first dimension counts the examples:
//   ids     [N, T] int64, filled up with `pad_id` to the longest
//   mask    [N, T] bool, true where there is a token
//   labels  tagging: [N, T] int64, kNoLabel but at words' first pieces; classification: [N]
//   scales  [N] of `options`' type: N over the batch's labels, so that the mean over examples of
//           scale * (sum of its labels' losses) is the mean over labels, however it is cut
Batch MakeExampleBatch(const Examples& examples, const std::vector<int64_t>& indices,
                       int64_t pad_id, bool tagging, const at::TensorOptions& options);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_METAXL_DATA_H_
