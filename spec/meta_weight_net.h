// Defaults and checks of the problems that meta_weight_net.proto describes (meta_weight_net).
#ifndef EVOGRAD_SPEC_META_WEIGHT_NET_H_
#define EVOGRAD_SPEC_META_WEIGHT_NET_H_

#include "proto/evograd/v1/job.pb.h"
#include "spec/checker.h"

namespace evograd {

void FillMetaWeightNet(v1::JobSpec* spec);
void CheckMetaWeightNet(const v1::JobSpec& spec, Checker* check);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_META_WEIGHT_NET_H_
