#include "spec/metaxl.h"

#include <algorithm>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

using v1::MetaXl;

constexpr char kAt[] = "problem.metaxl.";

// A folder's name: one step of a path, and no tab or colon, which files put after it.
bool IsLanguage(const std::string& name) {
  return !name.empty() && name.size() <= limits::kMaxLanguageBytes && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
         });
}

void CheckLanguage(const std::string& field, const std::string& name, Checker* check) {
  if (name.empty()) {
    check->Fail(field, "is missing; give the name of a language's folder in data_dir");
  } else if (!IsLanguage(name)) {
    check->Fail(field, absl::StrCat("`", name, "` is no name of a language's folder; give at most ",
                                    limits::kMaxLanguageBytes,
                                    " letters, digits, `-`, `_` and `.`, such as zh_CN"));
  }
}

void CheckLanguages(const MetaXl& metaxl, Checker* check) {
  const std::string target = absl::StrCat(kAt, "target_language");
  const std::string sources = absl::StrCat(kAt, "source_languages");
  CheckLanguage(target, metaxl.target_language(), check);
  check->InRange(sources, metaxl.source_languages_size(), 0, limits::kMaxLanguages);
  if (metaxl.source_languages().empty() && metaxl.training() != MetaXl::TARGET_ONLY) {
    check->Fail(sources, "is missing; give the source languages, or training TARGET_ONLY");
  }
  std::set<std::string> seen;
  for (const std::string& name : metaxl.source_languages()) {
    CheckLanguage(sources, name, check);
    if (!name.empty() && name == metaxl.target_language()) {
      check->Fail(sources, absl::StrCat(name, " is the target language too; take it out"));
    }
    if (!seen.insert(name).second) {
      check->Fail(sources, absl::StrCat(name, " stands there twice"));
    }
  }
}

bool IsTag(const std::string& label) {
  return label == "O" ||
         (label.size() > 2 && (absl::StartsWith(label, "B-") || absl::StartsWith(label, "I-")));
}

void CheckLabels(const MetaXl& metaxl, Checker* check) {
  const std::string field = absl::StrCat(kAt, "labels");
  check->InRange(field, metaxl.labels_size(), 0, limits::kMaxLabels);
  std::set<std::string> seen;
  for (const std::string& label : metaxl.labels()) {
    const bool printable = std::all_of(label.begin(), label.end(), [](unsigned char c) {
      return !absl::ascii_isspace(c) && !absl::ascii_iscntrl(c);
    });
    if (label.empty() || label.size() > limits::kMaxLabelBytes || !printable) {
      check->Fail(field, absl::StrCat("`", label.substr(0, limits::kMaxLabelBytes),
                                      "` is no label; give 1 to ", limits::kMaxLabelBytes,
                                      " bytes without blanks"));
    } else if (metaxl.task() == MetaXl::TAGGING && !IsTag(label)) {
      check->Fail(field, absl::StrCat("`", label, "` is no tag; tags are O, B-TYPE and I-TYPE"));
    }
    if (!seen.insert(label).second) {
      check->Fail(field, absl::StrCat("`", label, "` stands there twice"));
    }
  }
  if (metaxl.task() == MetaXl::TAGGING && !seen.empty() && seen.count("O") == 0) {
    check->Fail(field, "lacks O, the tag of words outside all spans");
  }
}

void CheckReportedTypes(const MetaXl& metaxl, Checker* check) {
  const std::string field = absl::StrCat(kAt, "reported_types");
  if (metaxl.reported_types().empty()) return;
  if (metaxl.task() != MetaXl::TAGGING) {
    check->Fail(field, "has no effect on CLASSIFICATION; leave it out");
  }
  check->InRange(field, metaxl.reported_types_size(), 0, limits::kMaxLabels);
  std::set<std::string> seen;
  for (const std::string& type : metaxl.reported_types()) {
    if (type.empty()) check->Fail(field, "has an empty name in it");
    if (!seen.insert(type).second) check->Fail(field, absl::StrCat(type, " stands there twice"));
  }
}

void CheckNetwork(const MetaXl& metaxl, Checker* check) {
  check->Path(absl::StrCat(kAt, "encoder_dir"), metaxl.encoder_dir(), "folder");
  if (metaxl.has_transformed_layer()) {
    check->InRange(absl::StrCat(kAt, "transformed_layer"), metaxl.transformed_layer(), 0,
                   limits::kMaxModelLayers);
  }
  check->InRange(absl::StrCat(kAt, "bottleneck_size"), metaxl.bottleneck_size(), 1,
                 limits::kMaxBottleneck);
  const std::string layers = absl::StrCat(kAt, "perturbed_layers");
  if (metaxl.perturbed() == MetaXl::ENCODER_TOP) {
    check->InRange(layers, metaxl.perturbed_layers(), 1, limits::kMaxModelLayers);
  } else if (metaxl.perturbed_layers() != 0) {
    check->Fail(layers, absl::StrCat(metaxl.perturbed_layers(),
                                     " has no effect unless perturbed is ENCODER_TOP; leave it "
                                     "out"));
  }
}

void CheckBatches(const v1::JobSpec& spec, Checker* check) {
  const MetaXl& metaxl = spec.problem().metaxl();
  check->InRange(absl::StrCat(kAt, "source_train_size"), metaxl.source_train_size(), 0,
                 limits::kMaxExamples);
  check->InRange(absl::StrCat(kAt, "target_train_size"), metaxl.target_train_size(), 0,
                 limits::kMaxExamples);
  check->Batch(absl::StrCat(kAt, "batch_size"), metaxl.batch_size(), metaxl.source_train_size(),
               "source_train_size", spec.virtual_workers());
  const std::string target = absl::StrCat(kAt, "target_batch_size");
  if (metaxl.target_batch_size() % 2 != 0) {
    check->Fail(target, absl::StrCat(metaxl.target_batch_size(),
                                     " is odd, but one half trains and one validates; give an "
                                     "even number"));
  } else {
    // Each half is cut into shards.
    check->Batch(target, metaxl.target_batch_size(), metaxl.target_train_size(),
                 "target_train_size", int64_t{2} * spec.virtual_workers());
  }
  check->InRange(absl::StrCat(kAt, "evaluation_batch_size"), metaxl.evaluation_batch_size(), 1,
                 limits::kMaxBatchSize);
  check->InRange(absl::StrCat(kAt, "evaluation_examples"), metaxl.evaluation_examples(), 0,
                 limits::kMaxExamples);
  // Two special tokens and a piece of text.
  check->InRange(absl::StrCat(kAt, "max_sequence_length"), metaxl.max_sequence_length(), 3,
                 limits::kMaxSequenceTokens);
  check->InRange(absl::StrCat(kAt, "evaluation_max_sequence_length"),
                 metaxl.evaluation_max_sequence_length(), 3, limits::kMaxSequenceTokens);
}

}  // namespace

void FillMetaXl(v1::JobSpec* spec) {
  MetaXl* metaxl = spec->mutable_problem()->mutable_metaxl();
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, task, MetaXl::TAGGING);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, training, MetaXl::METAXL);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, bottleneck_size, 384);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, perturbed, MetaXl::CLASSIFIER);
  if (metaxl->perturbed() == MetaXl::ENCODER_TOP) {
    EVOGRAD_DEFAULT_IF_ZERO(metaxl, perturbed_layers, 1);
  }
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, batch_size, 12);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, target_batch_size, 12);
  EVOGRAD_DEFAULT_IF_ABSENT(metaxl, data_seed, 42);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, max_sequence_length, 200);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, evaluation_max_sequence_length, 512);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, overlong, MetaXl::REFUSE);
  EVOGRAD_DEFAULT_IF_ZERO(metaxl, evaluation_batch_size, 32);
  EVOGRAD_DEFAULT_IF_ABSENT(metaxl, validation_dropout, true);
}

void CheckMetaXl(const v1::JobSpec& spec, Checker* check) {
  const MetaXl& metaxl = spec.problem().metaxl();
  check->Path(absl::StrCat(kAt, "data_dir"), metaxl.data_dir(), "folder");
  CheckLanguages(metaxl, check);
  CheckLabels(metaxl, check);
  CheckReportedTypes(metaxl, check);
  CheckNetwork(metaxl, check);
  CheckBatches(spec, check);
  if (metaxl.training() != MetaXl::METAXL && spec.estimator().kind() != v1::Estimator::NONE) {
    check->Fail(absl::StrCat(kAt, "training"),
                absl::StrCat(MetaXl::Training_Name(metaxl.training()),
                             " has no hyperparameters to learn; set estimator.kind to NONE"));
  }
}

}  // namespace evograd
