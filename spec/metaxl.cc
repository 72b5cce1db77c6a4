#include "spec/metaxl.h"

#include "common/limits.h"

namespace evograd {

void FillMetaXl(v1::JobSpec* spec) {}

void CheckMetaXl(const v1::JobSpec& spec, Checker* check) {}

}  // namespace evograd
