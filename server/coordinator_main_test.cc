// Goal: the program does what its flags say and ends as its exit code says; kill -9 loses no job
// that it answered; it ends with the process that started it. Method: the real program as a child
// process, with free ports and temporary directories; a client creates jobs and reads them back.

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"
#include "server/store/testing/temp_dir.h"

namespace evograd {
namespace {

using ::testing::HasSubstr;

constexpr char kProgram[] = "server/coordinator";

// A child process with its standard output and error in one pipe.
class Child {
 public:
  explicit Child(const std::vector<std::string>& flags) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    output_ = ends[0];
    std::vector<char*> arguments = {const_cast<char*>(kProgram)};
    for (const std::string& flag : flags) arguments.push_back(const_cast<char*>(flag.c_str()));
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      dup2(ends[1], STDERR_FILENO);
      execv(kProgram, arguments.data());
      _exit(127);
    }
    close(ends[1]);
  }
  ~Child() {
    if (pid_ > 0) End(SIGKILL);
    close(output_);
  }

  // Up to the end of a line, or of the output.
  std::string ReadLine() {
    std::string line;
    for (char byte; read(output_, &byte, 1) == 1 && byte != '\n';) line += byte;
    return line;
  }

  // Its wait status, after `signal` where it is not 0.
  int End(int signal) {
    int status = 0;
    if (signal != 0) kill(pid_, signal);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }

  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

class CoordinatorMainTest : public ::testing::Test {
 protected:
  std::vector<std::string> Flags() {
    return {"--data_dir=" + dir_.path() + "/data", "--listen=127.0.0.1:0",
            "--port_file=" + port_file()};
  }
  std::string port_file() const { return dir_.path() + "/port"; }

  // Returns when it serves.
  std::unique_ptr<Child> Serve(const std::vector<std::string>& flags) {
    auto child = std::make_unique<Child>(flags);
    EXPECT_THAT(child->ReadLine(), HasSubstr("coordinator listening on 127.0.0.1:"));
    std::ifstream(port_file()) >> address_;
    stub_ =
        v1::JobService::NewStub(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
    return child;
  }

  grpc::Status Create(const std::string& id) {
    v1::CreateJobRequest request;
    request.set_job_id(id);
    request.mutable_spec()->mutable_problem()->mutable_toy1d();
    request.mutable_spec()->set_steps(5);
    v1::Job job;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    return stub_->CreateJob(&context, request, &job);
  }

  int CountJobs() {
    v1::ListJobsResponse list;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    EXPECT_TRUE(stub_->ListJobs(&context, v1::ListJobsRequest(), &list).ok());
    return list.jobs_size();
  }

  testing::TempDir dir_;
  std::string address_;
  std::unique_ptr<v1::JobService::Stub> stub_;
};

TEST_F(CoordinatorMainTest, ServesAndEndsWhenAsked) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const auto child = Serve(Flags());
    CountJobs();
    const int status = child->End(signal);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
}

TEST_F(CoordinatorMainTest, AKillLosesNoJobThatWasAnswered) {
  for (int round = 1; round <= 3; ++round) {
    const auto child = Serve(Flags());
    EXPECT_EQ(CountJobs(), round - 1);
    ASSERT_TRUE(Create("job" + std::to_string(round)).ok());
    child->End(SIGKILL);
  }
  const auto child = Serve(Flags());
  EXPECT_EQ(CountJobs(), 3);
}

TEST_F(CoordinatorMainTest, WrongFlagsAreSaid) {
  const struct {
    std::vector<std::string> flags;
    std::string message;
    int code;
  } cases[] = {
      {{"--listen=127.0.0.1:0"}, "--data_dir is missing", 2},
      {{"--data_dir=" + dir_.path(), "--listen=0.0.0.0:0"}, "say --insecure", 2},
      {{"--data_dir=" + dir_.path(), "--listen=nowhere"}, "no address to listen on", 2},
      {{"--data_dir=" + dir_.path(), "extra"}, "unexpected argument `extra`", 2},
      {{"--data_dir=/proc/nowhere", "--listen=127.0.0.1:0"},
       "the data directory cannot be used",
       1},
      {{"--data_dir=" + dir_.path(), "--listen=127.0.0.1:0", "--port_file=/proc/nowhere"},
       "--port_file",
       1},
  };
  for (const auto& one : cases) {
    Child child(one.flags);
    EXPECT_THAT(child.ReadLine(), HasSubstr(one.message));
    const int status = child.End(0);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), one.code) << one.message;
  }
}

TEST_F(CoordinatorMainTest, EndsWithTheProcessThatStartedIt) {
  // Orphans come to this process, which so learns of their end.
  ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t parent = fork();
  if (parent == 0) {
    std::vector<std::string> flags = Flags();
    flags.push_back("--parent_death_signal");
    Child child(flags);
    child.ReadLine();
    const pid_t pid = child.pid();
    if (write(ends[1], &pid, sizeof(pid)) != sizeof(pid)) _exit(1);
    pause();
    _exit(0);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(read(ends[0], &grandchild, sizeof(grandchild)),
            static_cast<ssize_t>(sizeof(grandchild)));
  kill(parent, SIGKILL);
  waitpid(parent, nullptr, 0);
  int status = 0;
  EXPECT_EQ(waitpid(grandchild, &status, 0), grandchild);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace evograd
