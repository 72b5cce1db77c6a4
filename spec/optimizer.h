// A job's optimizer as algo/ takes it.
#ifndef EVOGRAD_SPEC_OPTIMIZER_H_
#define EVOGRAD_SPEC_OPTIMIZER_H_

#include "algo/optimizer.h"
#include "proto/evograd/v1/job.pb.h"

namespace evograd {

// Pure. `optimizer` is resolved (spec/resolve.h); of one that is not, absent fields are taken as
// zero.
OptimizerConfig ToOptimizerConfig(const v1::Optimizer& optimizer);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_OPTIMIZER_H_
