#include "server/rpc/transfer_call.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/rpc/status_grpc.h"
#include "spec/error.h"

namespace evograd {

TransferCall::TransferCall(CheckpointTransfer* transfer, TransferSlots* slots,
                           grpc::CallbackServerContext* context, std::string stalled)
    : transfer_(*transfer), slots_(*slots), stalled_(std::move(stalled)) {
  end_.context = context;
}

void TransferCall::Keep() {
  self_ = shared_from_this();
  transfer_.watch_.Add(self_);
}

void TransferCall::WaitForSlot(const std::string& key) {
  int64_t ticket = 0;
  const absl::Status waits = slots_.Acquire(
      key,
      [self = shared_from_this()](std::unique_ptr<TransferSlots::Slot> slot) {
        self->Granted(std::move(slot));
      },
      &ticket);
  if (!waits.ok()) return End(waits);
  bool ended = false;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ticket_ = ticket;
    ended = end_.finished;
  }
  if (ended) slots_.Forget(ticket);
}

void TransferCall::Granted(std::unique_ptr<TransferSlots::Slot> slot) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (end_.finished) return;
  }
  // A thread's function is copied.
  std::shared_ptr<TransferSlots::Slot> held = std::move(slot);
  transfer_.StartThread([self = shared_from_this(), held]() mutable {
    const absl::Status status = self->Run();
    held = nullptr;
    self->End(status);
  });
}

void TransferCall::OnTime(int64_t now_ms) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const int64_t stall_ms = transfer_.watch_.stall_ms();
  if (peer_since_ms_ != 0 && now_ms - peer_since_ms_ >= stall_ms) {
    FinishOnce(MakeError(absl::StatusCode::kDeadlineExceeded,
                         absl::StrCat(stalled_, " for ", stall_ms / 1000, " s"),
                         "TRANSFER_STALLED"));
  }
  end_.CutIfStuck(now_ms, stall_ms);
}

void TransferCall::End(const absl::Status& status) {
  const std::lock_guard<std::mutex> lock(mutex_);
  FinishOnce(status);
}

void TransferCall::FinishOnce(const absl::Status& status) {
  if (end_.finished) return;
  end_.Finished();
  ended_ = status;
  changed_.notify_all();
  Tell(ToGrpc(status));
}

void TransferCall::Release() {
  int64_t ticket = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    end_.done = true;
    ticket = ticket_;
  }
  slots_.Forget(ticket);
  const std::shared_ptr<TransferCall> last = std::move(self_);
}

}  // namespace evograd
