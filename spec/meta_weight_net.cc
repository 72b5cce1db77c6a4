#include "spec/meta_weight_net.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/limits.h"

namespace evograd {
namespace {

using Mwn = v1::MetaWeightNet;

constexpr char kAt[] = "problem.meta_weight_net.";
constexpr uint64_t kMaxNumpySeed = 0xffffffff;

// 0: not known before the files are read.
int KnownClasses(const Mwn& mwn) {
  if (mwn.data_format() == Mwn::CIFAR10) return 10;
  if (mwn.data_format() == Mwn::CIFAR100) return 100;
  return mwn.classes();
}

// Layers in a group of blocks cost 6 each, the others `rest`.
void CheckDepth(int depth, int rest, const std::string& model, Checker* check) {
  const std::string field = absl::StrCat(kAt, "depth");
  if (depth < rest + 6 || depth > limits::kMaxModelDepth) {
    check->InRange(field, depth, rest + 6, limits::kMaxModelDepth);
  } else if ((depth - rest) % 6 != 0) {
    check->Fail(field, absl::StrCat(depth, " is not 6 n + ", rest, ", the depths of ", model,
                                    "; give ", depth - (depth - rest) % 6));
  }
}

void CheckModel(const Mwn& mwn, Checker* check) {
  const std::string width = absl::StrCat(kAt, "width");
  switch (mwn.model()) {
    case Mwn::RESNET:
      CheckDepth(mwn.depth(), 2, "RESNET", check);
      check->InRange(width, mwn.width(), 1, limits::kMaxWidthFactor);
      break;
    case Mwn::WIDE_RESNET:
      CheckDepth(mwn.depth(), 4, "WIDE_RESNET", check);
      check->InRange(width, mwn.width(), 1, limits::kMaxWidthFactor);
      break;
    default:
      if (mwn.depth() != 0) {
        check->Fail(absl::StrCat(kAt, "depth"),
                    absl::StrCat(mwn.depth(), " has no effect on LENET; leave it out"));
      }
      if (mwn.width() != 0) {
        check->Fail(width, absl::StrCat(mwn.width(), " has no effect on LENET; leave it out"));
      }
      if (mwn.data_format() == Mwn::CIFAR10 || mwn.data_format() == Mwn::CIFAR100) {
        check->Fail(
            absl::StrCat(kAt, "model"),
            absl::StrCat("LENET takes grey images of 28 x 28 pixels, not those of ",
                         Mwn::DataFormat_Name(mwn.data_format()), "; use RESNET or WIDE_RESNET"));
      }
  }
  const std::string dropout = absl::StrCat(kAt, "dropout");
  if (mwn.model() != Mwn::WIDE_RESNET && mwn.dropout() != 0) {
    check->Fail(dropout, absl::StrCat(mwn.dropout(), " has no effect on ",
                                      Mwn::Model_Name(mwn.model()), "; leave it out"));
  } else {
    check->BelowOne(dropout, mwn.dropout());
  }
}

void CheckNoise(const Mwn& mwn, Checker* check) {
  const std::string noise = absl::StrCat(kAt, "label_noise");
  const std::string rate = absl::StrCat(kAt, "noise_rate");
  const bool cifar10 = mwn.data_format() == Mwn::CIFAR10;
  const bool idx = mwn.data_format() == Mwn::IDX;
  if (mwn.label_noise() == Mwn::HIERARCHICAL && (cifar10 || idx)) {
    check->Fail(noise, absl::StrCat("HIERARCHICAL needs the coarse classes of CIFAR100, which ",
                                    Mwn::DataFormat_Name(mwn.data_format()),
                                    " does not have; use UNIFORM, FLIP or FLIP2"));
  }
  if (mwn.label_noise() == Mwn::ASYMMETRIC && idx) {
    check->Fail(noise,
                "ASYMMETRIC is published for CIFAR10 and CIFAR100 only; use UNIFORM, FLIP or "
                "FLIP2");
  }
  if (mwn.label_noise() == Mwn::FLIP2 && KnownClasses(mwn) == 2) {
    check->Fail(noise, "FLIP2 takes two other classes, but there are 2 in all; use FLIP");
  }
  if (mwn.flip_seed() > kMaxNumpySeed) {
    check->Fail(absl::StrCat(kAt, "flip_seed"),
                absl::StrCat(mwn.flip_seed(), " is no seed of NumPy's RandomState; give at most ",
                             kMaxNumpySeed));
  }
  if (mwn.label_noise() == Mwn::NONE && mwn.noise_rate() != 0) {
    check->Fail(rate, absl::StrCat(mwn.noise_rate(),
                                   " has no effect on label_noise NONE; leave it out or name the "
                                   "noise"));
  } else {
    check->Share(rate, mwn.noise_rate());
  }
}

void CheckExamples(const Mwn& mwn, int64_t virtual_workers, Checker* check) {
  const std::string at = kAt;
  if (mwn.classes() != 0) check->InRange(at + "classes", mwn.classes(), 2, limits::kMaxClasses);
  const int classes = KnownClasses(mwn);
  if (mwn.classes() != 0 && mwn.classes() != classes) {
    check->Fail(at + "classes", absl::StrCat(mwn.classes(), " is wrong for ",
                                             Mwn::DataFormat_Name(mwn.data_format()),
                                             ", which has ", classes, "; leave it out"));
  }
  check->InRange(at + "meta_examples", mwn.meta_examples(), 1, limits::kMaxExamples);
  if (mwn.meta_examples() > 0 && classes >= 2 && mwn.meta_examples() % classes != 0) {
    check->Fail(at + "meta_examples",
                absl::StrCat(mwn.meta_examples(), " cannot be shared equally by ", classes,
                             " classes; give a multiple of it"));
  }
  check->InRange(at + "train_examples", mwn.train_examples(), 0, limits::kMaxExamples);
  check->InRange(at + "test_examples", mwn.test_examples(), 0, limits::kMaxExamples);
  check->Batch(at + "batch_size", mwn.batch_size(), mwn.train_examples(), "train_examples",
               virtual_workers);
  check->Batch(at + "validation_batch_size", mwn.validation_batch_size(), mwn.meta_examples(),
               "meta_examples", virtual_workers);
}

}  // namespace

void FillMetaWeightNet(v1::JobSpec* spec) {
  Mwn* mwn = spec->mutable_problem()->mutable_meta_weight_net();
  EVOGRAD_DEFAULT_IF_ZERO(mwn, model, Mwn::RESNET);
  if (mwn->model() == Mwn::RESNET) {
    EVOGRAD_DEFAULT_IF_ZERO(mwn, depth, 32);
    EVOGRAD_DEFAULT_IF_ZERO(mwn, width, 1);
  } else if (mwn->model() == Mwn::WIDE_RESNET) {
    EVOGRAD_DEFAULT_IF_ZERO(mwn, depth, 28);
    EVOGRAD_DEFAULT_IF_ZERO(mwn, width, 10);
  }
  EVOGRAD_DEFAULT_IF_ABSENT(mwn, dropout, 0);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, label_noise, Mwn::UNIFORM);
  EVOGRAD_DEFAULT_IF_ABSENT(mwn, noise_rate, mwn->label_noise() == Mwn::NONE ? 0 : 0.4);
  EVOGRAD_DEFAULT_IF_ABSENT(mwn, flip_seed, 1);
  EVOGRAD_DEFAULT_IF_ABSENT(mwn, data_seed, spec->seed());
  EVOGRAD_DEFAULT_IF_ZERO(mwn, meta_examples, 1000);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, batch_size, 100);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, validation_batch_size, 100);
  EVOGRAD_DEFAULT_IF_ABSENT(mwn, augmentation, mwn->model() != Mwn::LENET);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, weighting, Mwn::LEARNED);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, normalisation, Mwn::SUM_TO_ONE);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, weighting_hidden_units, 100);
  EVOGRAD_DEFAULT_IF_ZERO(mwn, weight_examples, 2000);
}

void CheckMetaWeightNet(const v1::JobSpec& spec, Checker* check) {
  const Mwn& mwn = spec.problem().meta_weight_net();
  const std::string at = kAt;
  check->Path(at + "data_dir", mwn.data_dir(), "folder");
  CheckModel(mwn, check);
  CheckNoise(mwn, check);
  CheckExamples(mwn, spec.virtual_workers(), check);
  if (mwn.weighting() == Mwn::EQUAL && spec.estimator().kind() != v1::Estimator::NONE) {
    check->Fail(at + "weighting",
                "EQUAL leaves nothing to learn; set estimator.kind to NONE or weighting to "
                "LEARNED");
  }
  check->InRange(at + "weighting_hidden_units", mwn.weighting_hidden_units(), 1,
                 limits::kMaxWeightingHiddenUnits);
  check->InRange(at + "weight_examples", mwn.weight_examples(), 1, limits::kMaxBatchSize);
}

}  // namespace evograd
