// Goal: each kind of group gets its communicator, and one that cannot be made is refused with the
// reason. Method: groups of one and two ranks; a CUDA device that no machine has.
#include "worker/collective/communicator_factory.h"

#include <string>
#include <utility>

#include "gtest/gtest.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/testing/run_ranks.h"

namespace evograd {
namespace {

// Ends the test that uses it.
class NoRendezvous : public Rendezvous {
 public:
  absl::Status Put(const std::string&, const std::string&) override {
    ADD_FAILURE() << "nobody should look for others";
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> Wait(const std::string&, absl::Time) override {
    ADD_FAILURE() << "nobody should wait for others";
    return std::string();
  }
};

TEST(CreateCommunicator, OneRankNeedsNobody) {
  NoRendezvous rendezvous;
  CommunicatorOptions options;
  auto alone = CreateCommunicator(Communicator::Memory::kHost, options, rendezvous);
  ASSERT_EQ(alone.status(), absl::OkStatus());
  EXPECT_EQ((*alone)->size(), 1);
  const int value = 7;
  int received = 0;
  EXPECT_EQ((*alone)->AllGather(&value, &received, sizeof value), absl::OkStatus());
  EXPECT_EQ(received, 7);
}

TEST(CreateCommunicator, TwoRanksOnHostsAreConnected) {
  InMemoryRendezvous rendezvous;
  RunRanks(2, [&](int rank) {
    CommunicatorOptions options;
    options.rank = rank;
    options.size = 2;
    options.interface_address = "127.0.0.1";
    auto communicator = CreateCommunicator(Communicator::Memory::kHost, options, rendezvous);
    ASSERT_EQ(communicator.status(), absl::OkStatus());
    EXPECT_EQ((*communicator)->memory(), Communicator::Memory::kHost);
    int all[2] = {};
    EXPECT_EQ((*communicator)->AllGather(&rank, all, sizeof rank), absl::OkStatus());
    EXPECT_EQ(all[0], 0);
    EXPECT_EQ(all[1], 1);
  });
}

TEST(CreateCommunicator, RefusesARankThatDoesNotExist) {
  NoRendezvous rendezvous;
  CommunicatorOptions options;
  options.rank = 2;
  options.size = 2;
  EXPECT_EQ(CreateCommunicator(Communicator::Memory::kHost, options, rendezvous).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(CreateCommunicator, NamesACudaDeviceThatDoesNotExist) {
  NoRendezvous rendezvous;
  CommunicatorOptions options;
  options.cuda_device = 1000;
  const auto made = CreateCommunicator(Communicator::Memory::kCuda, options, rendezvous);
  EXPECT_EQ(made.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(made.status().message().find("CUDA device 1000"), std::string::npos) << made.status();
}

}  // namespace
}  // namespace evograd
