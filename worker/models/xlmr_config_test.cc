// Goal: config.json is read as Hugging Face means it, and one that asks for what is not built here,
// lacks something or contradicts itself is refused by file and field. Method: one good
// configuration, XLM-R base's as it is published; each bad one differs from it in one field.
#include "worker/models/xlmr_config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "common/limits.h"

namespace evograd {
namespace {

constexpr char kBase[] = R"({
  "architectures": ["XLMRobertaForMaskedLM"],
  "attention_probs_dropout_prob": 0.1,
  "bos_token_id": 0,
  "eos_token_id": 2,
  "hidden_act": "gelu",
  "hidden_dropout_prob": 0.2,
  "hidden_size": 768,
  "initializer_range": 0.02,
  "intermediate_size": 3072,
  "layer_norm_eps": 1e-05,
  "max_position_embeddings": 514,
  "model_type": "xlm-roberta",
  "num_attention_heads": 12,
  "num_hidden_layers": 12,
  "output_past": true,
  "pad_token_id": 1,
  "position_embedding_type": "absolute",
  "transformers_version": "4.17.0",
  "type_vocab_size": 1,
  "use_cache": true,
  "vocab_size": 250002
})";

// The good one with `to` in the place of `from`.
absl::StatusOr<XlmrConfig> Changed(const std::string& from, const std::string& to) {
  const std::string text = absl::StrReplaceAll(kBase, {{from, to}});
  EXPECT_NE(text, kBase) << from;
  return ParseXlmrConfig(text, "/m/config.json");
}

void ExpectRefused(const absl::StatusOr<XlmrConfig>& config, const std::string& part,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  EXPECT_EQ(config.status().code(), code) << config.status();
  EXPECT_TRUE(absl::StrContains(config.status().message(), part))
      << config.status() << "\nlacks: " << part;
  EXPECT_TRUE(absl::StartsWith(config.status().message(), "/m/config.json: ")) << config.status();
}

TEST(XlmrConfigTest, ReadsTheBaseModel) {
  const auto config = ParseXlmrConfig(kBase, "/m/config.json");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->hidden_size, 768);
  EXPECT_EQ(config->layer_norm_eps, 1e-5);
  EXPECT_EQ(config->classifier_dropout, 0.2);
  EXPECT_EQ(config->max_tokens(), 512);
  EXPECT_EQ(config->max_tokens(true), 514);
  // XLMRobertaModel(config, add_pooling_layer=False).num_parameters().
  EXPECT_EQ(config->parameters(), 277453056);
}

TEST(XlmrConfigTest, DropoutOfTheClassifierIsItsOwnWhereGiven) {
  EXPECT_EQ(Changed("\"use_cache\": true", "\"classifier_dropout\": 0.5")->classifier_dropout, 0.5);
  EXPECT_EQ(Changed("\"use_cache\": true", "\"classifier_dropout\": null")->classifier_dropout,
            0.2);
}

TEST(XlmrConfigTest, RobertaIsTheSame) {
  EXPECT_TRUE(Changed("xlm-roberta", "roberta").ok());
  ExpectRefused(Changed("\"xlm-roberta\"", "\"bert\""), "model_type is \"bert\"");
}

TEST(XlmrConfigTest, EveryMissingFieldIsNamed) {
  for (const std::string field :
       {"model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "max_position_embeddings", "type_vocab_size", "pad_token_id",
        "layer_norm_eps", "hidden_dropout_prob", "attention_probs_dropout_prob", "hidden_act"}) {
    ExpectRefused(Changed("\"" + field + "\"", "\"finetuning_task\""), "has no " + field);
  }
}

TEST(XlmrConfigTest, UnknownFieldsAreNamed) {
  ExpectRefused(Changed("use_cache", "rotary_theta"), "field 'rotary_theta'");
}

TEST(XlmrConfigTest, WhatIsNotBuiltIsRefused) {
  ExpectRefused(Changed("\"gelu\"", "\"relu\""), "hidden_act is \"relu\"; only \"gelu\"");
  ExpectRefused(Changed("\"absolute\"", "\"relative_key\""), "position_embedding_type");
  ExpectRefused(Changed("\"use_cache\"", "\"is_decoder\""), "is_decoder is true");
  ExpectRefused(Changed("\"use_cache\"", "\"add_cross_attention\""), "add_cross_attention");
  ExpectRefused(Changed("\"use_cache\": true", "\"pruned_heads\": {\"0\": [1]}"), "pruned_heads");
  EXPECT_TRUE(Changed("\"use_cache\": true", "\"pruned_heads\": {}").ok());
  EXPECT_TRUE(Changed("\"use_cache\": true", "\"is_decoder\": false").ok());
}

TEST(XlmrConfigTest, ValuesOutOfRangeAreNamed) {
  ExpectRefused(Changed("768", "0"), "hidden_size is 0");
  ExpectRefused(Changed("768", "\"768\""), "hidden_size is \"768\"");
  ExpectRefused(Changed("768", "768.5"), "hidden_size is 768.5");
  ExpectRefused(Changed("250002", "1e30"), "vocab_size is 1e+30");
  ExpectRefused(Changed("250002", "-5"), "vocab_size is -5");
  ExpectRefused(Changed("0.2", "1"), "hidden_dropout_prob is 1");
  ExpectRefused(Changed("0.2", "-0.1"), "hidden_dropout_prob is -0.1");
  ExpectRefused(Changed("1e-05", "null"), "layer_norm_eps is null");
  ExpectRefused(Changed("0.02", "100"), "initializer_range is 100");
}

TEST(XlmrConfigTest, ContradictionsAreNamed) {
  ExpectRefused(Changed("\"num_attention_heads\": 12", "\"num_attention_heads\": 7"),
                "hidden_size 768 is not a multiple of num_attention_heads 7");
  ExpectRefused(Changed("250002", "1"), "pad_token_id 1 is not below vocab_size 1");
  ExpectRefused(Changed("514", "4"), "max_position_embeddings 4 leaves 2 positions");
  EXPECT_TRUE(Changed("514", "5").ok());
}

TEST(XlmrConfigTest, HugeModelsAreRefused) {
  ExpectRefused(Changed("\"num_hidden_layers\": 12", "\"num_hidden_layers\": 1000"), "parameters",
                absl::StatusCode::kResourceExhausted);
}

TEST(XlmrConfigTest, TextThatIsNoObjectIsRefused) {
  ExpectRefused(ParseXlmrConfig("", "/m/config.json"), "is not JSON");
  ExpectRefused(ParseXlmrConfig("[]", "/m/config.json"), "is not a JSON object");
}

TEST(XlmrConfigTest, FilesAreReadUpToABound) {
  const std::string path = testing::TempDir() + "/config.json";
  std::ofstream(path) << kBase;
  ASSERT_TRUE(ReadXlmrConfig(path).ok()) << ReadXlmrConfig(path).status();
  EXPECT_EQ(ReadXlmrConfig(path)->vocab_size, 250002);
  std::ofstream(path) << std::string(limits::kMaxModelConfigBytes, ' ') << kBase;
  EXPECT_TRUE(absl::StrContains(ReadXlmrConfig(path).status().message(), path));
  EXPECT_EQ(ReadXlmrConfig(path).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadXlmrConfig(path + ".none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(ReadXlmrConfig(testing::TempDir()).ok());
}

}  // namespace
}  // namespace evograd
