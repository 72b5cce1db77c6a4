// Defaults and checks of the problem that metaxl.proto describes (metaxl).
#ifndef EVOGRAD_SPEC_METAXL_H_
#define EVOGRAD_SPEC_METAXL_H_

#include "proto/evograd/v1/job.pb.h"
#include "spec/checker.h"

namespace evograd {

void FillMetaXl(v1::JobSpec* spec);
// What the spec alone can tell. Whether folders, labels and the encoder fit is for the workers, who
// see them.
void CheckMetaXl(const v1::JobSpec& spec, Checker* check);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_METAXL_H_
