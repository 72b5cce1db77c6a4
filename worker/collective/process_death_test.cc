// Goal: when a rank's process is killed or stopped in the middle of large collectives, the others
// return with the right error in time, whichever collective and whichever rank it was. Method: real
// processes (testing/tcp_peer_main.cc) that repeat large collectives; once all have done some
// rounds the test sends SIGKILL or SIGSTOP to one, at another moment in each trial, and waits for
// the others' reports.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "worker/collective/in_memory_rendezvous.h"
#include "worker/collective/testing/frames.h"

namespace evograd {
namespace {

constexpr char kPeer[] = "worker/collective/tcp_peer";
constexpr absl::Duration kGrace = absl::Seconds(5);
// Much more than a socket holds, so that a collective is nearly always under way.
constexpr size_t kBytes = 4 << 20;

// What one process has told.
struct Report {
  int round = -1;
  bool over = false;
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  absl::Time when;
};

class Peers {
 public:
  Peers(int size, absl::Duration timeout) : reports_(size) {
    for (int rank = 0; rank < size; ++rank) Start(rank, size, timeout);
  }

  ~Peers() {
    rendezvous_.End();
    for (pid_t pid : pids_) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
    for (std::thread& thread : threads_) thread.join();
    for (int socket : sockets_) close(socket);
  }

  void Signal(int rank, int signal) { ASSERT_EQ(kill(pids_[rank], signal), 0); }

  // False when not all ranks have begun `round` within a minute.
  bool WaitForRound(int round) {
    const auto reached = [&] {
      for (const Report& report : reports_) {
        if (report.round < round) return false;
      }
      return true;
    };
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Minutes(1));
  }

  // The reports, once all but `victim` have ended, or after a minute.
  std::vector<Report> WaitForSurvivors(int victim) {
    const auto ended = [&] {
      for (size_t r = 0; r < reports_.size(); ++r) {
        if (static_cast<int>(r) != victim && !reports_[r].over) return false;
      }
      return true;
    };
    absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&ended), absl::Minutes(1));
    return reports_;
  }

 private:
  void Start(int rank, int size, absl::Duration timeout) {
    int ends[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    const std::vector<std::string> words = {kPeer, absl::StrCat(rank), absl::StrCat(size),
                                            absl::StrCat(absl::ToInt64Milliseconds(timeout)),
                                            absl::StrCat(kBytes)};
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    const pid_t pid = fork();
    if (pid == 0) {
      // dup2 onto the same number would leave it to be closed by exec.
      if (ends[1] == 3) ends[1] = dup(3);
      dup2(ends[1], 3);
      execv(kPeer, arguments.data());
      _exit(127);
    }
    ASSERT_GT(pid, 0);
    close(ends[1]);
    pids_.push_back(pid);
    sockets_.push_back(ends[0]);
    threads_.emplace_back([this, rank, socket = ends[0]] { Serve(rank, socket); });
  }

  void Serve(int rank, int socket) {
    std::vector<std::string> frame;
    while (ReadFrame(socket, &frame)) {
      if (frame[0] == "put") {
        EXPECT_EQ(rendezvous_.Put(frame[1], frame[2]), absl::OkStatus());
      } else if (frame[0] == "wait") {
        const auto value = rendezvous_.Wait(frame[1], absl::Now() + absl::Minutes(1));
        if (!value.ok()) return;
        WriteFrame(socket, {*value});
      } else {
        absl::MutexLock lock(&mutex_);
        Report& report = reports_[rank];
        if (frame[0] == "round") {
          report.round = std::stoi(frame[1]);
          continue;
        }
        report.over = true;
        report.code = static_cast<absl::StatusCode>(std::stoi(frame[1]));
        report.message = frame[2];
        report.when = absl::Now();
      }
    }
  }

  InMemoryRendezvous rendezvous_;
  std::vector<pid_t> pids_;
  std::vector<int> sockets_;
  std::vector<std::thread> threads_;
  absl::Mutex mutex_;
  std::vector<Report> reports_;
};

class ProcessDeath : public testing::TestWithParam<int> {};

TEST_P(ProcessDeath, AKilledRankIsNoticedAtOnce) {
  const int size = GetParam();
  for (int victim = 0; victim < size; ++victim) {
    // A timeout so long that only the death can end the calls.
    Peers peers(size, absl::Minutes(5));
    ASSERT_TRUE(peers.WaitForRound(1 + victim));
    const absl::Time killed = absl::Now();
    peers.Signal(victim, SIGKILL);
    const std::vector<Report> reports = peers.WaitForSurvivors(victim);
    for (int rank = 0; rank < size; ++rank) {
      if (rank == victim) continue;
      EXPECT_EQ(reports[rank].code, absl::StatusCode::kUnavailable) << reports[rank].message;
      EXPECT_NE(reports[rank].message.find("rank "), std::string::npos) << reports[rank].message;
      EXPECT_LT(reports[rank].when - killed, kGrace);
    }
  }
}

TEST_P(ProcessDeath, AStoppedRankIsADeadline) {
  const int size = GetParam();
  const absl::Duration timeout = absl::Seconds(2);
  Peers peers(size, timeout);
  ASSERT_TRUE(peers.WaitForRound(2));
  const int victim = size - 1;
  const absl::Time stopped = absl::Now();
  peers.Signal(victim, SIGSTOP);
  const std::vector<Report> reports = peers.WaitForSurvivors(victim);
  int deadlines = 0;
  for (int rank = 0; rank < size; ++rank) {
    if (rank == victim) continue;
    ASSERT_TRUE(reports[rank].over) << "rank " << rank << " hangs";
    deadlines += reports[rank].code == absl::StatusCode::kDeadlineExceeded;
    // The first to give up leaves, and may be noticed before the deadline of one that came later.
    EXPECT_TRUE(reports[rank].code == absl::StatusCode::kDeadlineExceeded ||
                reports[rank].code == absl::StatusCode::kUnavailable)
        << reports[rank].message;
    EXPECT_LT(reports[rank].when - stopped, timeout + kGrace);
  }
  EXPECT_GE(deadlines, 1);
}

TEST_P(ProcessDeath, WithoutADeathTheRoundsGoOn) {
  Peers peers(GetParam(), absl::Seconds(30));
  EXPECT_TRUE(peers.WaitForRound(10));
}

INSTANTIATE_TEST_SUITE_P(Ranks, ProcessDeath, testing::Values(2, 3));

}  // namespace
}  // namespace evograd
