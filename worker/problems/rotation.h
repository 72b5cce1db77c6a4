// Learning a rotation: a LeNet is trained on upright pictures that pass through a rotation by
// lambda (one angle, in radians, counter-clockwise, from 0), and validated and tested on pictures
// that were turned by the job's true angle.
//
// Pictures are turned as 8-bit pixels by the true angle and as bilinear samples by lambda, black
// outside, and then normalised by the mean and standard deviation of the training pictures' pixels.
// (The published notebook normalises before it turns by lambda, which leaves grey corners that the
// validation pictures do not have.)
//
// Metrics: accuracy_rotated and test_loss on the turned test pictures, accuracy_upright on the test
// pictures as they are, angle_degrees (lambda), true_angle_degrees.
#ifndef EVOGRAD_WORKER_PROBLEMS_ROTATION_H_
#define EVOGRAD_WORKER_PROBLEMS_ROTATION_H_

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/problems/problem.h"

namespace evograd {

// Reads the pictures. `spec` is resolved and its problem is rotation; `device` is "cpu" or
// "cuda:N"; `cancelled` lives as long as the problem. Errors: those of ReadLabelledImages;
// INVALID_ARGUMENT, naming the field, when the files hold fewer pictures than the job uses or
// pictures that the model does not take.
absl::StatusOr<std::unique_ptr<Problem>> MakeRotation(const v1::JobSpec& spec,
                                                      const std::string& device,
                                                      const std::atomic<bool>& cancelled);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_ROTATION_H_
