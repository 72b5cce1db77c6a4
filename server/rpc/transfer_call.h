// What an upload and a download have in common: a place among those that run, a thread while it has
// one, an end that is told once, and a peer that may not stand still.
//
// Threads: those of its user (upload_call.h, download_call.h).
#ifndef EVOGRAD_SERVER_RPC_TRANSFER_CALL_H_
#define EVOGRAD_SERVER_RPC_TRANSFER_CALL_H_

#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "server/rpc/checkpoint_transfer.h"
#include "server/rpc/stall_watch.h"
#include "server/rpc/transfer_slots.h"

namespace evograd {

class TransferCall : public StallWatch::Watched, public std::enable_shared_from_this<TransferCall> {
 public:
  void OnTime(int64_t now_ms) override;

 protected:
  // `stalled`, with the time behind it, says what the peer did not do.
  TransferCall(CheckpointTransfer* transfer, TransferSlots* slots,
               grpc::CallbackServerContext* context, std::string stalled);

  // Keeps itself until Release.
  void Keep();
  // Runs on a thread of its own when it has a slot of those of `key`.
  void WaitForSlot(const std::string& key);
  // With a slot; its result ends the call.
  virtual absl::Status Run() = 0;
  // Hands the end to gRPC; once, with mutex_ held.
  virtual void Tell(const grpc::Status& status) = 0;

  void End(const absl::Status& status);
  // Requires mutex_. Nothing where it has ended.
  void FinishOnce(const absl::Status& status);
  // The last that gRPC says of it.
  void Release();

  CheckpointTransfer& transfer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  // Protected by mutex_. Since when it is the peer's turn; 0: it is not.
  int64_t peer_since_ms_ = 0;
  absl::Status ended_;
  CallEnd end_;

 private:
  void Granted(std::unique_ptr<TransferSlots::Slot> slot);

  TransferSlots& slots_;
  const std::string stalled_;
  std::shared_ptr<TransferCall> self_;
  // Protected by mutex_.
  int64_t ticket_ = 0;
};

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_TRANSFER_CALL_H_
