// One rank in a process of its own, for process_death_test: `tcp_peer RANK SIZE TIMEOUT_MS BYTES`
// with the test's socket as file descriptor 3. It repeats one round of large collectives until one
// fails.
//
// Frames to the test:  put KEY VALUE | wait KEY (answered by one frame: the value) | round N |
// error CODE MESSAGE
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "worker/collective/tcp_communicator.h"
#include "worker/collective/testing/frames.h"

namespace evograd {
namespace {

constexpr int kTest = 3;

class RendezvousThroughTest : public Rendezvous {
 public:
  absl::Status Put(const std::string& key, const std::string& value) override {
    return WriteFrame(kTest, {"put", key, value}) ? absl::OkStatus() : Lost();
  }
  absl::StatusOr<std::string> Wait(const std::string& key, absl::Time) override {
    std::vector<std::string> answer;
    if (!WriteFrame(kTest, {"wait", key}) || !ReadFrame(kTest, &answer)) return Lost();
    return answer[0];
  }

 private:
  static absl::Status Lost() { return absl::AbortedError("the test is gone"); }
};

absl::Status Work(const CommunicatorOptions& options, size_t bytes) {
  RendezvousThroughTest rendezvous;
  EVOGRAD_ASSIGN_OR_RETURN(auto communicator, CreateTcpCommunicator(options, rendezvous));
  std::vector<char> send(options.size * bytes), receive(options.size * bytes);
  for (int round = 0;; ++round) {
    if (!WriteFrame(kTest, {"round", absl::StrCat(round)})) std::exit(1);
    EVOGRAD_RETURN_IF_ERROR(communicator->AllGather(send.data(), receive.data(), bytes));
    EVOGRAD_RETURN_IF_ERROR(communicator->AllToAll(send.data(), receive.data(), bytes));
    EVOGRAD_RETURN_IF_ERROR(
        communicator->Broadcast(send.data(), options.size * bytes, round % options.size));
  }
}

int Main(int argc, char** argv) {
  if (argc != 5) return 2;
  CommunicatorOptions options;
  options.rank = std::atoi(argv[1]);
  options.size = std::atoi(argv[2]);
  options.timeout = absl::Milliseconds(std::atoi(argv[3]));
  options.interface_address = "127.0.0.1";
  const absl::Status status = Work(options, std::strtoul(argv[4], nullptr, 10));
  WriteFrame(kTest, {"error", absl::StrCat(static_cast<int>(status.code())),
                     std::string(status.message())});
  return 0;
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) { return evograd::Main(argc, argv); }
