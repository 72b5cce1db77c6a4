#include "spec/lft.h"

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/limits.h"

namespace evograd {
namespace {

constexpr int kConvExtent = 84;
constexpr int kResNetExtent = 224;
// Below these a backbone's maps vanish.
constexpr int kMinConvExtent = 20;
constexpr int kMinResNetExtent = 32;

bool IsConv(v1::Backbone backbone) { return backbone == v1::CONV4 || backbone == v1::CONV6; }

// The fields that both messages have.
template <typename Message>
void FillPictures(Message* message) {
  EVOGRAD_DEFAULT_IF_ZERO(message, backbone, v1::RESNET10);
  EVOGRAD_DEFAULT_IF_ZERO(message, image_extent,
                          IsConv(message->backbone()) ? kConvExtent : kResNetExtent);
  EVOGRAD_DEFAULT_IF_ZERO(message, loader_threads, 2);
}

template <typename Message>
void CheckPictures(const std::string& at, const Message& message, Checker* check) {
  check->Path(at + "data_dir", message.data_dir(), "folder");
  const int least = IsConv(message.backbone()) ? kMinConvExtent : kMinResNetExtent;
  if (message.image_extent() < least || message.image_extent() > limits::kMaxModelImageExtent) {
    check->Fail(at + "image_extent", absl::StrCat(message.image_extent(), " pixels are not for ",
                                                  v1::Backbone_Name(message.backbone()), "; give ",
                                                  least, " to ", limits::kMaxModelImageExtent));
  }
  check->InRange(at + "loader_threads", message.loader_threads(), 1, limits::kMaxLoaderThreads);
  check->InRange(at + "image_cache_mib", message.image_cache_mib(), 0, limits::kMaxImageCacheMib);
}

// Domains are folders and parts of metrics' names.
void CheckDomain(const std::string& field, const std::string& name, Checker* check) {
  const bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
  });
  if (name.empty() || name.size() > limits::kMaxDomainNameBytes || !plain || name[0] == '.') {
    check->Fail(field, absl::StrCat("`", name.substr(0, limits::kMaxDomainNameBytes + 1),
                                    "` is no domain; give the name of a folder in data_dir, up to ",
                                    limits::kMaxDomainNameBytes,
                                    " letters, digits, '_', '-' and '.', not beginning with '.'"));
  }
}

// As it stands in a metric's name (worker/problems/lft.h).
std::string InMetric(const std::string& domain) {
  return absl::AsciiStrToLower(absl::StrReplaceAll(domain, {{"-", "_"}, {".", "_"}}));
}

template <typename Names>
void CheckDomains(const std::string& field, const Names& names, Checker* check) {
  if (names.empty()) check->Fail(field, "is missing; give the name of at least one domain");
  if (names.size() > limits::kMaxDomains) {
    check->Fail(field, absl::StrCat("names ", names.size(), " domains; at most ",
                                    limits::kMaxDomains, " are allowed"));
    return;
  }
  std::set<std::string> seen;
  for (int i = 0; i < names.size(); ++i) {
    const std::string element = absl::StrCat(field, "[", i, "]");
    CheckDomain(element, names[i], check);
    if (!seen.insert(InMetric(names[i])).second) {
      check->Fail(element, absl::StrCat("`", names[i],
                                        "` or one that differs only in case or "
                                        "punctuation stands there twice"));
    }
  }
}

void CheckTransformation(const v1::JobSpec& spec, Checker* check) {
  const v1::Lft& lft = spec.problem().lft();
  const bool estimated = spec.estimator().kind() != v1::Estimator::NONE;
  const std::string at = "problem.lft.";
  if (lft.transformation() != v1::Lft::LEARNED && estimated) {
    check->Fail("estimator.kind",
                absl::StrCat(v1::Estimator::Kind_Name(spec.estimator().kind()),
                             " has nothing to learn where problem.lft.transformation is ",
                             v1::Lft::Transformation_Name(lft.transformation()),
                             "; give NONE, or transformation LEARNED"));
  }
  if (lft.transformation() == v1::Lft::LEARNED && !estimated) {
    check->Fail(at + "transformation",
                "LEARNED needs an estimator other than NONE; give one, or transformation FIXED");
  }
  if (lft.transformation() == v1::Lft::LEARNED && estimated && lft.seen_domains_size() == 1) {
    check->Fail(at + "seen_domains",
                "is one domain only, but a learned transformation needs a pseudo-seen and a "
                "pseudo-unseen one; give at least two");
  }
  check->Finite(at + "initial_gamma", lft.initial_gamma());
  check->Finite(at + "initial_beta", lft.initial_beta());
}

void CheckEpisodes(const v1::JobSpec& spec, Checker* check) {
  const v1::Lft& lft = spec.problem().lft();
  const std::string at = "problem.lft.";
  check->InRange(at + "way", lft.way(), 2, limits::kMaxEpisodeWays);
  check->InRange(at + "shot", lft.shot(), 1, limits::kMaxEpisodeImagesPerClass);
  check->InRange(at + "query", lft.query(), 1, limits::kMaxEpisodeImagesPerClass);
  const std::string episodes = at + "episodes_per_step";
  if (lft.episodes_per_step() > limits::kMaxEpisodesPerStep) {
    check->InRange(episodes, lft.episodes_per_step(), 1, limits::kMaxEpisodesPerStep);
  } else {
    check->Batch(episodes, lft.episodes_per_step(), 0, "", spec.virtual_workers());
  }
  check->InRange(at + "steps_per_epoch", lft.steps_per_epoch(), 1, limits::kMaxSteps - 1);
  check->PositiveOrZero(at + "auxiliary_weight", lft.auxiliary_weight());
  check->Batch(at + "auxiliary_batch_size", lft.auxiliary_batch_size(), 0, "",
               spec.virtual_workers());
  check->InRange(at + "evaluation_episodes", lft.evaluation_episodes(), 1,
                 limits::kMaxEvaluationEpisodes);
  check->InRange(at + "evaluation_query", lft.evaluation_query(), 1,
                 limits::kMaxEpisodeImagesPerClass);
  check->InRange(at + "validation_episodes", lft.validation_episodes(), 1,
                 limits::kMaxEvaluationEpisodes);
}

}  // namespace

void FillLft(v1::JobSpec* spec) {
  v1::Lft* lft = spec->mutable_problem()->mutable_lft();
  FillPictures(lft);
  if (lft->auxiliary_domain().empty() && lft->seen_domains_size() > 0) {
    lft->set_auxiliary_domain(lft->seen_domains(0));
  }
  EVOGRAD_DEFAULT_IF_ZERO(lft, transformation, v1::Lft::LEARNED);
  EVOGRAD_DEFAULT_IF_ABSENT(lft, initial_gamma, 0.3);
  EVOGRAD_DEFAULT_IF_ABSENT(lft, initial_beta, 0.5);
  EVOGRAD_DEFAULT_IF_ZERO(lft, way, 5);
  EVOGRAD_DEFAULT_IF_ZERO(lft, shot, 5);
  EVOGRAD_DEFAULT_IF_ZERO(lft, query, 16);
  EVOGRAD_DEFAULT_IF_ZERO(lft, episodes_per_step, 1);
  EVOGRAD_DEFAULT_IF_ZERO(lft, steps_per_epoch, 100);
  EVOGRAD_DEFAULT_IF_ZERO(lft, auxiliary_batch_size, 16);
  EVOGRAD_DEFAULT_IF_ABSENT(lft, auxiliary_weight, 1);
  EVOGRAD_DEFAULT_IF_ZERO(lft, evaluation_episodes, 1000);
  EVOGRAD_DEFAULT_IF_ZERO(lft, evaluation_query, 15);
  EVOGRAD_DEFAULT_IF_ZERO(lft, validation_episodes, 100);
}

void CheckLft(const v1::JobSpec& spec, Checker* check) {
  const v1::Lft& lft = spec.problem().lft();
  const std::string at = "problem.lft.";
  CheckPictures(at, lft, check);
  CheckDomains(at + "seen_domains", lft.seen_domains(), check);
  CheckDomains(at + "test_domains", lft.test_domains(), check);
  // Without seen domains there is no default for it, which is said there.
  if (!lft.auxiliary_domain().empty()) {
    CheckDomain(at + "auxiliary_domain", lft.auxiliary_domain(), check);
  }
  if (!lft.pretrained().empty()) check->Path(at + "pretrained", lft.pretrained(), "file");
  CheckTransformation(spec, check);
  CheckEpisodes(spec, check);
}

void FillPretrain(v1::JobSpec* spec) {
  v1::Pretrain* pretrain = spec->mutable_problem()->mutable_pretrain();
  FillPictures(pretrain);
  EVOGRAD_DEFAULT_IF_ZERO(pretrain, batch_size, 16);
  EVOGRAD_DEFAULT_IF_ABSENT(pretrain, held_out_share, 0.1);
}

void CheckPretrain(const v1::JobSpec& spec, Checker* check) {
  const v1::Pretrain& pretrain = spec.problem().pretrain();
  const std::string at = "problem.pretrain.";
  if (spec.estimator().kind() != v1::Estimator::NONE) {
    check->Fail("estimator.kind",
                absl::StrCat(v1::Estimator::Kind_Name(spec.estimator().kind()),
                             " has nothing to learn: pretraining has no hyperparameters; give "
                             "NONE"));
  }
  CheckPictures(at, pretrain, check);
  CheckDomains(at + "domains", pretrain.domains(), check);
  check->Batch(at + "batch_size", pretrain.batch_size(), 0, "", spec.virtual_workers());
  check->BelowOne(at + "held_out_share", pretrain.held_out_share());
}

}  // namespace evograd
