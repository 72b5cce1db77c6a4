// Prints what results depend on here: for tests that change the environment, and for a person.
//   print_numerics [cpu | cuda:N]
#include <cstdio>

#include "worker/engine/numerics.h"

int main(int argc, char** argv) {
  std::printf("%s\n", evograd::Numerics(argc > 1 ? argv[1] : "cpu").c_str());
}
