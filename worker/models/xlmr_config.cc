#include "worker/models/xlmr_config.h"

#include <cerrno>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

using Json = nlohmann::json;

// What is read below.
const std::set<std::string>& ReadFields() {
  static const auto* fields = new std::set<std::string>{
      "model_type",
      "vocab_size",
      "hidden_size",
      "num_hidden_layers",
      "num_attention_heads",
      "intermediate_size",
      "max_position_embeddings",
      "type_vocab_size",
      "pad_token_id",
      "layer_norm_eps",
      "hidden_dropout_prob",
      "attention_probs_dropout_prob",
      "classifier_dropout",
      "initializer_range",
      "hidden_act",
      "position_embedding_type",
      "is_decoder",
      "add_cross_attention",
      "pruned_heads",
      "chunk_size_feed_forward",
  };
  return *fields;
}

// What says nothing of the encoder's computation: heads, files, generation, bookkeeping.
const std::set<std::string>& HarmlessFields() {
  static const auto* fields = new std::set<std::string>{
      "_name_or_path",
      "_attn_implementation",
      "_attn_implementation_autoset",
      "architectures",
      "bos_token_id",
      "cls_token_id",
      "decoder_start_token_id",
      "dtype",
      "eos_token_id",
      "finetuning_task",
      "gradient_checkpointing",
      "id2label",
      "is_encoder_decoder",
      "label2id",
      "mask_token_id",
      "num_labels",
      "output_attentions",
      "output_hidden_states",
      "output_past",
      "problem_type",
      "return_dict",
      "sep_token_id",
      "tie_word_embeddings",
      "tokenizer_class",
      "torch_dtype",
      "torchscript",
      "transformers_version",
      "use_cache",
  };
  return *fields;
}

// Reads fields one by one; the first error stays.
class FieldReader {
 public:
  FieldReader(const Json& json, std::string path) : json_(json), path_(std::move(path)) {}

  const absl::Status& status() const { return status_; }

  void Fail(const std::string& why) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(path_, ": ", why));
  }

  const Json* Required(const char* name) {
    const auto found = json_.find(name);
    if (found == json_.end()) {
      Fail(absl::StrCat("has no ", name, "; is it the encoder's config.json?"));
      return nullptr;
    }
    return &*found;
  }

  void Count(const char* name, int64_t least, int64_t most, int64_t* to) {
    const Json* value = Required(name);
    if (value == nullptr) return;
    if (!value->is_number_integer() || value->get<double>() < least ||
        value->get<double>() > most) {
      Fail(absl::StrCat(name, " is ", value->dump(), "; it must be a whole number from ", least,
                        " to ", most));
      return;
    }
    *to = value->get<int64_t>();
  }

  // A number with `least` <= number < `limit`.
  void Real(const char* name, double least, double limit, double* to) {
    const Json* value = Required(name);
    if (value == nullptr) return;
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (!(number >= least && number < limit)) {
      Fail(absl::StrCat(name, " is ", value->dump(), "; it must be a number from ", least,
                        " to below ", limit));
      return;
    }
    *to = number;
  }

  void OptionalReal(const char* name, double least, double limit, double* to) {
    const auto found = json_.find(name);
    if (found != json_.end() && !found->is_null()) Real(name, least, limit, to);
  }

  // Where the field stands, it must say what is built here.
  void Only(const char* name, const Json& supported) {
    const auto found = json_.find(name);
    if (found == json_.end() || found->is_null() || *found == supported) return;
    Fail(absl::StrCat(name, " is ", found->dump(), "; only ", supported.dump(), " is supported"));
  }

 private:
  const Json& json_;
  const std::string path_;
  absl::Status status_;
};

void CheckFieldNames(const Json& json, FieldReader* reader) {
  for (const auto& item : json.items()) {
    if (ReadFields().count(item.key()) == 0 && HarmlessFields().count(item.key()) == 0) {
      reader->Fail(absl::StrCat("has a field '", item.key(),
                                "' that XLM-R's configuration does not have, so what it asks for "
                                "cannot be done; remove it if it does not concern the encoder"));
    }
  }
}

void CheckTogether(const XlmrConfig& config, FieldReader* reader) {
  if (config.hidden_size % config.num_attention_heads != 0) {
    reader->Fail(absl::StrCat("hidden_size ", config.hidden_size,
                              " is not a multiple of num_attention_heads ",
                              config.num_attention_heads));
  }
  if (config.pad_token_id >= config.vocab_size) {
    reader->Fail(absl::StrCat("pad_token_id ", config.pad_token_id, " is not below vocab_size ",
                              config.vocab_size));
  }
  constexpr int64_t kFewestTokens = 3;  // <s>, one piece, </s>
  if (config.max_tokens() < kFewestTokens) {
    reader->Fail(absl::StrCat("max_position_embeddings ", config.max_position_embeddings,
                              " leaves ", config.max_tokens(), " positions after pad_token_id ",
                              config.pad_token_id, "; at least ", kFewestTokens, " are needed"));
  }
}

}  // namespace

int64_t XlmrConfig::parameters() const {
  const int64_t norm = 2 * hidden_size;
  const int64_t embeddings =
      (vocab_size + max_position_embeddings + type_vocab_size) * hidden_size + norm;
  const int64_t square = hidden_size * hidden_size + hidden_size;
  const int64_t forward = 2 * hidden_size * intermediate_size + intermediate_size + hidden_size;
  return embeddings + num_hidden_layers * (4 * square + forward + 2 * norm);
}

absl::StatusOr<XlmrConfig> ParseXlmrConfig(const std::string& text, const std::string& path) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not JSON: ", error.what()));
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": is not a JSON object"));
  }
  FieldReader reader(json, path);
  const Json* type = reader.Required("model_type");
  if (type != nullptr && *type != "xlm-roberta" && *type != "roberta") {
    reader.Fail(absl::StrCat("model_type is ", type->dump(),
                             "; \"xlm-roberta\" and \"roberta\" are supported"));
  }
  XlmrConfig config;
  constexpr int64_t kMost = limits::kMaxModelExtent;
  reader.Count("vocab_size", 1, kMost, &config.vocab_size);
  reader.Count("hidden_size", 1, limits::kMaxModelWidth, &config.hidden_size);
  reader.Count("num_hidden_layers", 1, limits::kMaxModelLayers, &config.num_hidden_layers);
  reader.Count("num_attention_heads", 1, limits::kMaxModelWidth, &config.num_attention_heads);
  reader.Count("intermediate_size", 1, limits::kMaxModelWidth, &config.intermediate_size);
  reader.Count("max_position_embeddings", 1, kMost, &config.max_position_embeddings);
  reader.Count("type_vocab_size", 1, kMost, &config.type_vocab_size);
  reader.Count("pad_token_id", 0, kMost, &config.pad_token_id);
  reader.Real("layer_norm_eps", 0, 1, &config.layer_norm_eps);
  reader.Real("hidden_dropout_prob", 0, 1, &config.hidden_dropout_prob);
  reader.Real("attention_probs_dropout_prob", 0, 1, &config.attention_probs_dropout_prob);
  config.classifier_dropout = config.hidden_dropout_prob;
  reader.OptionalReal("classifier_dropout", 0, 1, &config.classifier_dropout);
  reader.OptionalReal("initializer_range", 0, 10, &config.initializer_range);
  if (reader.Required("hidden_act") != nullptr) reader.Only("hidden_act", "gelu");
  reader.Only("position_embedding_type", "absolute");
  reader.Only("is_decoder", false);
  reader.Only("add_cross_attention", false);
  reader.Only("pruned_heads", Json::object());
  reader.Only("chunk_size_feed_forward", 0);
  CheckFieldNames(json, &reader);
  if (reader.status().ok()) CheckTogether(config, &reader);
  EVOGRAD_RETURN_IF_ERROR(reader.status());
  if (config.parameters() > limits::kMaxModelParameters) {
    return absl::ResourceExhaustedError(absl::StrCat(path, ": asks for ", config.parameters(),
                                                     " parameters; a model may have ",
                                                     limits::kMaxModelParameters));
  }
  return config;
}

absl::StatusOr<XlmrConfig> ReadXlmrConfig(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(limits::kMaxModelConfigBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad() || (file.gcount() == 0 && errno != 0)) {
    const std::error_code error(errno, std::generic_category());
    const std::string message = absl::StrCat(path, ": cannot be read: ", error.message());
    if (error == std::errc::permission_denied) return absl::PermissionDeniedError(message);
    return absl::NotFoundError(message);
  }
  text.resize(file.gcount());
  if (static_cast<int64_t>(text.size()) > limits::kMaxModelConfigBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": has more than ", limits::kMaxModelConfigBytes, " bytes; is it the right file?"));
  }
  return ParseXlmrConfig(text, path);
}

}  // namespace evograd
