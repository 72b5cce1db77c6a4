// Defaults and checks of the problem that a job names (spec/resolve.h says what they are for).
#ifndef EVOGRAD_SPEC_PROBLEM_H_
#define EVOGRAD_SPEC_PROBLEM_H_

#include "proto/evograd/v1/job.pb.h"
#include "spec/checker.h"

namespace evograd {

// After the defaults of everything else: a problem's own may depend on them.
void FillProblem(v1::JobSpec* spec);
void CheckProblem(const v1::JobSpec& spec, Checker* check);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_PROBLEM_H_
