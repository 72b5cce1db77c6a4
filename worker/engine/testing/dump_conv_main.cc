// Writes one meta-step of the conv problem (without dropout, which no other implementation could
// repeat) to a safetensors file, for tests/golden:
//
//   dump_conv OUT.safetensors 'virtual_workers: 2 estimator { kind: EVOGRAD }'
#include <cstdio>

#include "worker/engine/hypergradient_dump.h"
#include "worker/engine/testing/engine_rig.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: dump_conv OUT.safetensors JOBSPEC\n");
    return 2;
  }
  evograd::ConvProblemOptions problem;
  problem.dropout = 0;
  const auto engine = evograd::MakeRigEngine(evograd::RigSpec(argv[2]), problem);
  const absl::Status status = evograd::DumpHypergradient(*engine, argv[1]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
