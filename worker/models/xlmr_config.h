// The configuration of an XLM-R or RoBERTa encoder: the part of Hugging Face's config.json that
// decides what is computed.
//
//   EVOGRAD_ASSIGN_OR_RETURN(XlmrConfig config,
//                            ReadXlmrConfig("/models/xlm-roberta-base/config.json"));
//   auto encoder = std::make_shared<XlmrEncoder>(config);
//
// A field that would change the computation in a way that is not built here, and one that is not
// known at all, is an error: a model is never run as something else than it is.
//
// Threads: pure functions. Errors, naming file and field: NOT_FOUND and PERMISSION_DENIED (the
// file), INVALID_ARGUMENT (not JSON, a field missing, unknown, of the wrong type, out of range, or
// at odds with another), RESOURCE_EXHAUSTED (more parameters than limits::kMaxModelParameters).
#ifndef EVOGRAD_WORKER_MODELS_XLMR_CONFIG_H_
#define EVOGRAD_WORKER_MODELS_XLMR_CONFIG_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace evograd {

// Names and meanings are config.json's.
struct XlmrConfig {
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t intermediate_size = 0;
  int64_t max_position_embeddings = 0;
  int64_t type_vocab_size = 0;
  int64_t pad_token_id = 1;
  double layer_norm_eps = 1e-5;
  double hidden_dropout_prob = 0.1;
  double attention_probs_dropout_prob = 0.1;
  double classifier_dropout = 0.1;  // absent or null: hidden_dropout_prob
  double initializer_range = 0.02;  // standard deviation of fresh weights

  // The most tokens of a sequence, special ones included: positions count from pad_token_id + 1,
  // as published from 0 (see XlmrEncoder).
  int64_t max_tokens(bool published_quirks = false) const {
    return max_position_embeddings - (published_quirks ? 0 : pad_token_id + 1);
  }
  // Of the encoder, without heads.
  int64_t parameters() const;
};

absl::StatusOr<XlmrConfig> ReadXlmrConfig(const std::string& path);

// `path` names the file in errors.
absl::StatusOr<XlmrConfig> ParseXlmrConfig(const std::string& json, const std::string& path);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_XLMR_CONFIG_H_
