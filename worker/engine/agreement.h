// Whether all ranks of a group hold the same parameters: machines that round differently, or one
// with faulty memory, drift apart without any other sign, since only sums of lambda's gradients
// need cross the wire.
//
//   StateDigest digest;
//   digest.Update(theta);
//   EVOGRAD_RETURN_IF_ERROR(CheckRanksAgree(&exchange, digest.value(), "after step 64"));
//
// Threads: one. Errors of CheckRanksAgree: those of the communicator; RanksDisagreeError on every
// rank where the digests are not all equal. Its suspects are the ranks that hold something else
// than most, where most hold the same.
#ifndef EVOGRAD_WORKER_ENGINE_AGREEMENT_H_
#define EVOGRAD_WORKER_ENGINE_AGREEMENT_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "proto/evograd/v1/job.pb.h"
#include "worker/engine/exchange.h"

namespace evograd {

// 64 bits that any one changed bit changes for certain and any other difference does but for one
// chance in 2^64. As fast as memory is read, and no protection against intent.
class StateDigest {
 public:
  void Update(const void* data, size_t bytes);
  void Update(const std::vector<double>& values) {
    Update(values.data(), values.size() * sizeof(double));
  }
  // Contiguous, on any device.
  void Update(const at::Tensor& tensor);

  uint64_t value() const;

 private:
  static constexpr int kLanes = 4;

  uint64_t lanes_[kLanes] = {1, 2, 3, 4};
};

// Collective: one number of each rank to all. `when` stands in the error, which says which ranks
// differ from most, where most agree.
absl::Status CheckRanksAgree(Exchange* exchange, uint64_t digest, const std::string& when);

// Whether the ranks compare after `done` steps of a resolved spec: in memory after each, so that
// nothing of what they disagree about is ever told or stored. A device's is read too slowly for
// that: there every kDeviceAgreementSteps, and at checkpoints that are due by steps.
bool AgreementDue(const v1::JobSpec& spec, bool in_memory, int64_t done);
inline constexpr int64_t kDeviceAgreementSteps = 64;

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_AGREEMENT_H_
