// Rotation of 8-bit pictures by a fixed angle.
#ifndef EVOGRAD_WORKER_DATA_ROTATE_H_
#define EVOGRAD_WORKER_DATA_ROTATE_H_

#include <cstdint>
#include <vector>

namespace evograd {

// Rotates square pictures of `extent` x `extent` pixels, one after the other in `pixels`, about
// their centre by `degrees`, counter-clockwise as one looks at them. Each pixel takes its nearest
// source; from outside comes 0.
std::vector<uint8_t> RotateNearest(const std::vector<uint8_t>& pixels, int64_t extent,
                                   double degrees);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_ROTATE_H_
