// Defaults and checks of the problems that lft.proto describes (lft and pretrain).
#ifndef EVOGRAD_SPEC_LFT_H_
#define EVOGRAD_SPEC_LFT_H_

#include "proto/evograd/v1/job.pb.h"
#include "spec/checker.h"

namespace evograd {

void FillLft(v1::JobSpec* spec);
void CheckLft(const v1::JobSpec& spec, Checker* check);
void FillPretrain(v1::JobSpec* spec);
void CheckPretrain(const v1::JobSpec& spec, Checker* check);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_LFT_H_
