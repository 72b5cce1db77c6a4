// Where two job specs differ, for a person. Pure functions.
#ifndef EVOGRAD_CLIENT_CLI_SPEC_DIFFERENCE_H_
#define EVOGRAD_CLIENT_CLI_SPEC_DIFFERENCE_H_

#include <string>

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

// "steps (200 there, 300 here), estimator.population (2 there, 4 here)", the first few; empty where
// they are the same. Both are resolved (spec/resolve.h).
std::string SpecDifference(const v1::JobSpec& there, const v1::JobSpec& here);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_SPEC_DIFFERENCE_H_
