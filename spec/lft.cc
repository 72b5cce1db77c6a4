#include "spec/lft.h"

#include "common/limits.h"

namespace evograd {

void FillLft(v1::JobSpec* spec) {}

void CheckLft(const v1::JobSpec& spec, Checker* check) {}

void FillPretrain(v1::JobSpec* spec) {}

void CheckPretrain(const v1::JobSpec& spec, Checker* check) {}

}  // namespace evograd
