// LibTorch's tensors and a job's spec into a safetensors file.
#ifndef EVOGRAD_WORKER_ENGINE_TENSOR_FILE_H_
#define EVOGRAD_WORKER_ENGINE_TENSOR_FILE_H_

#include <ATen/core/Tensor.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/data/safetensors_writer.h"
#include "worker/problems/problem.h"

namespace evograd {

// A job as the metadata of such files has it. INTERNAL where it has no JSON form.
absl::StatusOr<std::string> SpecAsJson(const v1::JobSpec& spec);

// From any device. INTERNAL for a type that the file has no name for.
absl::Status AddTensor(const std::string& name, const at::Tensor& tensor,
                       SafetensorsWriter* writer);

// Each tensor of a layout out of a flat one, as `prefix` and its name.
absl::Status AddFlat(const std::string& prefix, const ParameterLayout& layout,
                     const at::Tensor& flat, SafetensorsWriter* writer);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_TENSOR_FILE_H_
