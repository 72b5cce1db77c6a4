#include "worker/engine/layer_noise.h"

#include <ATen/Context.h>

namespace evograd {
namespace {

std::mutex& GeneratorMutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

}  // namespace

LayerNoise::LayerNoise(const c10::Device& device, uint64_t seed) : lock_(GeneratorMutex()) {
  at::Generator generator = at::globalContext().defaultGenerator(device);  // a shared handle
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(seed);
}

}  // namespace evograd
