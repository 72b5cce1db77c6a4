#include "worker/problems/testing/metaxl_folder.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "spec/resolve.h"
#include "worker/data/testing/model_proto.h"

namespace evograd {
namespace {

// Syllables that words are made of, a piece each; letters for the rest.
const char* const kSyllables[] = {"ka", "lo", "mi", "nu", "pe", "ri", "so", "tu"};
constexpr char kBlank[] = "\xe2\x96\x81";

testing_model::Model TokenizerModel() {
  testing_model::Model model;
  for (const char* syllable : kSyllables) {
    model.pieces.push_back({absl::StrCat(kBlank, syllable), -1});
    model.pieces.push_back({syllable, -1.5});
  }
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    model.pieces.push_back({std::string(1, letter), -6});
  }
  model.pieces.push_back({kBlank, -4});
  return model;
}

// Sentences whose words and tags follow from their first syllables, each a little different.
std::string Sentences(const std::string& language, int first, int count) {
  std::string text;
  for (int sentence = first; sentence < first + count; ++sentence) {
    const int salt = sentence * sentence * 31 % 97;
    const int words = 2 + salt % 4;
    for (int word = 0; word < words; ++word) {
      const int a = (salt + word * word + word) % 8;
      const int b = (salt / 8 + word) % 8;
      const char* tag = a == 0 ? "B-PER" : a == 1 ? "B-LOC" : a == 2 ? "I-LOC" : "O";
      absl::StrAppend(&text, language, ":", kSyllables[a], word % 2 == 0 ? kSyllables[b] : "", "\t",
                      tag, "\n");
    }
    absl::StrAppend(&text, "\n");
  }
  return text;
}

std::string Texts(int first, int count) {
  std::string text = "label\ttext\n";
  for (int row = first; row < first + count; ++row) {
    absl::StrAppend(&text, row % 3 == 0 ? "good" : "bad", "\t", kSyllables[row % 8], " ",
                    kSyllables[row * row % 8], row % 2 == 0 ? " so" : "", "\n");
  }
  return text;
}

}  // namespace

MetaXlFolder::MetaXlFolder(const std::string& name, double dropout)
    : path_(absl::StrCat(testing::TempDir(), "/", name)) {
  for (const char* folder : {"", "/encoder", "/data", "/data/en", "/data/de", "/data/qu", "/texts",
                             "/texts/en", "/texts/de", "/texts/qu"}) {
    mkdir(absl::StrCat(path_, folder).c_str(), 0700);
  }
  Write("encoder/sentencepiece.bpe.model", TokenizerModel().Serialise());
  Write("encoder/config.json", Config(dropout, Vocabulary()));
  Write("texts/labels.txt", "bad\ngood\n");
  int first = 0;
  for (const char* language : {"en", "de", "qu"}) {
    const int train = language[0] == 'q' ? kTargetSentences : kSourceSentences;
    for (const char* split : {"train", "dev", "test"}) {
      const int count = split[0] == 't' && split[1] == 'r' ? train : train / 2;
      Write(absl::StrCat("data/", language, "/", split), Sentences(language, first, count));
      Write(absl::StrCat("texts/", language, "/", split, ".tsv"), Texts(first, count));
      first += count;
    }
  }
}

int MetaXlFolder::Vocabulary() {
  // Ids begin one later than pieces, and <mask> is the last.
  return static_cast<int>(TokenizerModel().pieces.size()) + 2;
}

std::string MetaXlFolder::Config(double dropout, int vocabulary, int layers) {
  return absl::StrCat(
      R"({"model_type": "xlm-roberta", "vocab_size": )", vocabulary, R"(, "hidden_size": )",
      kHidden, R"(, "num_hidden_layers": )", layers,
      R"(, "num_attention_heads": 2, "intermediate_size": 16, "max_position_embeddings": 26, )"
      R"("type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, "hidden_act": "gelu", )"
      R"("initializer_range": 0.3, "hidden_dropout_prob": )",
      dropout, R"(, "attention_probs_dropout_prob": )", dropout, "}");
}

v1::JobSpec MetaXlFolder::Spec(const std::string& fields, const std::string& others) const {
  const bool classification = fields.find("CLASSIFICATION") != std::string::npos;
  const std::string text =
      absl::StrCat("steps: 5 seed: 3 data_type: FLOAT64 problem { metaxl { data_dir: '", path_,
                   classification ? "/texts" : "/data", "' encoder_dir: '", path_,
                   "/encoder' source_languages: 'en' source_languages: 'de' target_language: 'qu' "
                   "batch_size: 4 target_batch_size: 4 bottleneck_size: 3 random_encoder: true ",
                   "} } ");
  v1::JobSpec spec;
  EVOGRAD_CHECK(google::protobuf::TextFormat::ParseFromString(text, &spec), text.c_str());
  // Given fields take the place of those above.
  v1::MetaXl given;
  EVOGRAD_CHECK(google::protobuf::TextFormat::ParseFromString(fields, &given), fields.c_str());
  if (given.source_languages_size() > 0) {
    spec.mutable_problem()->mutable_metaxl()->clear_source_languages();
  }
  spec.mutable_problem()->mutable_metaxl()->MergeFrom(given);
  v1::JobSpec job;
  EVOGRAD_CHECK(google::protobuf::TextFormat::ParseFromString(others, &job), others.c_str());
  spec.MergeFrom(job);
  for (const FieldViolation& violation : Resolve(&spec)) {
    EVOGRAD_CHECK(false, absl::StrCat(violation.field, ": ", violation.description).c_str());
  }
  return spec;
}

void MetaXlFolder::Write(const std::string& name, const std::string& text) const {
  std::ofstream(absl::StrCat(path_, "/", name), std::ios::binary) << text;
}

std::string MetaXlFolder::Read(const std::string& name) const {
  std::ifstream file(absl::StrCat(path_, "/", name), std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace evograd
