#include "worker/problems/job_backbone.h"

#include <torch/nn/module.h>

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/data/safetensors.h"

namespace evograd {
namespace {

BackboneKind KindOf(v1::Backbone backbone) {
  switch (backbone) {
    case v1::CONV4:
      return BackboneKind::kConv4;
    case v1::CONV6:
      return BackboneKind::kConv6;
    case v1::RESNET18:
      return BackboneKind::kResNet18;
    case v1::RESNET34:
      return BackboneKind::kResNet34;
    default:
      return BackboneKind::kResNet10;
  }
}

const std::vector<std::string>& FeaturePrefixes() {
  static const auto& prefixes =
      *new std::vector<std::string>{"parameters.feature.", "buffers.feature.", "feature."};
  return prefixes;
}

// What LoadInto must not take for a tensor of the backbone.
std::vector<std::string> NamesToIgnore(const SafetensorsReader& file) {
  std::vector<std::string> ignored;
  for (const auto& [name, entry] : file.entries()) {
    std::string stripped = name;
    for (const std::string& prefix : FeaturePrefixes()) {
      if (!absl::StartsWith(name, prefix)) continue;
      stripped = name.substr(prefix.size());
      break;
    }
    if (stripped == name || absl::EndsWith(name, ".num_batches_tracked")) {
      ignored.push_back(stripped);
    }
  }
  return ignored;
}

}  // namespace

std::shared_ptr<Backbone> MakeBackbone(v1::Backbone backbone) {
  return MakeBackbone(KindOf(backbone));
}

absl::Status LoadPretrained(const std::string& path, Backbone* backbone) {
  EVOGRAD_ASSIGN_OR_RETURN(const SafetensorsReader file, SafetensorsReader::Open(path));
  std::vector<NamedTensor> targets;
  for (const auto& item : backbone->named_parameters()) {
    targets.push_back({item.key(), item.value()});
  }
  for (const auto& item : backbone->named_buffers()) targets.push_back({item.key(), item.value()});
  const at::NoGradGuard no_grad;
  const absl::Status status = LoadInto(targets, file, {FeaturePrefixes(), NamesToIgnore(file)});
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat("pretrained backbone: ", status.message()));
}

}  // namespace evograd
