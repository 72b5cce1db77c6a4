// Initial weights of networks of convolutions, batch normalisations and linear layers.
#ifndef EVOGRAD_WORKER_MODELS_INITIALISATION_H_
#define EVOGRAD_WORKER_MODELS_INITIALISATION_H_

#include <cstdint>

namespace torch::nn {
class Module;
}

namespace evograd {

// Writes all parameters and running statistics of `module`, as the published few-shot code begins:
// convolutions from N(0, 2 / (k^2 output channels)); normalisations 1 and 0, their running mean 0
// and variance 1; linear layers, and biases of convolutions, uniform in +-1/sqrt(fan in). A pure
// function of `seed`: the same on every device and, up to rounding, of every type. Throws what
// LibTorch throws.
void InitialiseWeights(uint64_t seed, torch::nn::Module* module);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_MODELS_INITIALISATION_H_
