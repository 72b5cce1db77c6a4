// Prints what results depend on here: for tests that change the environment, and for a person.
//   print_numerics [cpu | cuda:N]
#include <cstdio>

#include "worker/engine/numerics.h"

int main(int argc, char** argv) {
  const auto numerics = evograd::Numerics(argc > 1 ? argv[1] : "cpu");
  std::printf("%s\n", numerics.ok() ? numerics->c_str() : numerics.status().ToString().c_str());
  return numerics.ok() ? 0 : 1;
}
