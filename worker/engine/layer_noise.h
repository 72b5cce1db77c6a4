// Seeds LibTorch's default generator of a device, from which random layers draw, and keeps other
// engines of this process from drawing meanwhile: the generator is one for all of them.
//
//   {
//     const LayerNoise noise(device, seed);
//     loss = problem.MemberLoss(batch, lambda);
//   }
//
// Never held over a collective: the rank that is waited for might want it.
#ifndef EVOGRAD_WORKER_ENGINE_LAYER_NOISE_H_
#define EVOGRAD_WORKER_ENGINE_LAYER_NOISE_H_

#include <c10/core/Device.h>

#include <cstdint>
#include <mutex>

namespace evograd {

class LayerNoise {
 public:
  LayerNoise(const c10::Device& device, uint64_t seed);

 private:
  std::lock_guard<std::mutex> lock_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_LAYER_NOISE_H_
