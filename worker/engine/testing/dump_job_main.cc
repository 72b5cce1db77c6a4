// Writes the first meta-step of a job to a safetensors file, for tests/golden:
//
//   dump_job OUT.safetensors 'steps: 1 problem { metaxl { ... } }'
#include <google/protobuf/text_format.h>

#include <cstdio>

#include "spec/resolve.h"
#include "worker/engine/engine.h"

int main(int argc, char** argv) {
  evograd::v1::JobSpec spec;
  if (argc != 3 || !google::protobuf::TextFormat::ParseFromString(argv[2], &spec)) {
    std::fprintf(stderr, "usage: dump_job OUT.safetensors JOBSPEC\n");
    return 2;
  }
  for (const evograd::FieldViolation& violation : evograd::Resolve(&spec)) {
    std::fprintf(stderr, "%s: %s\n", violation.field.c_str(), violation.description.c_str());
    return 2;
  }
  const absl::Status status =
      evograd::WriteHypergradient(spec, evograd::EngineOptions(), argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
