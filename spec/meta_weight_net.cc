#include "spec/meta_weight_net.h"

#include "common/limits.h"

namespace evograd {

void FillMetaWeightNet(v1::JobSpec* spec) {}

void CheckMetaWeightNet(const v1::JobSpec& spec, Checker* check) {}

}  // namespace evograd
