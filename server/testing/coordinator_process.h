// The real program as a child process, and a client of it.
//
//   CoordinatorProcess child({"--data_dir=/tmp/d", "--listen=127.0.0.1:0"});
//   EXPECT_THAT(child.ReadLine(), HasSubstr("coordinator listening on"));
//   kill(child.pid(), SIGTERM); child.Wait();
#ifndef EVOGRAD_SERVER_TESTING_COORDINATOR_PROCESS_H_
#define EVOGRAD_SERVER_TESTING_COORDINATOR_PROCESS_H_

#include <fcntl.h>
#include <grpcpp/create_channel.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proto/evograd/v1/job_service.grpc.pb.h"

namespace evograd::testing {

// What the child finds.
struct Surroundings {
  std::vector<std::pair<std::string, std::string>> environment;
  mode_t mask = 022;
  // 0: as in this process.
  rlim_t soft_file_limit = 0;
  rlim_t hard_file_limit = 0;
  std::vector<int> ignored_signals;
};

// A child process with its standard output and error in one pipe.
class CoordinatorProcess {
 public:
  explicit CoordinatorProcess(const std::vector<std::string>& flags,
                              const Surroundings& around = {}) {
    constexpr char kProgram[] = "server/coordinator";
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
      umask(around.mask);
      for (const int number : {SIGINT, SIGTERM}) std::signal(number, SIG_DFL);
      for (const int number : around.ignored_signals) std::signal(number, SIG_IGN);
      rlimit files;
      getrlimit(RLIMIT_NOFILE, &files);
      if (around.soft_file_limit > 0) files.rlim_cur = around.soft_file_limit;
      if (around.hard_file_limit > 0) files = {around.hard_file_limit, around.hard_file_limit};
      setrlimit(RLIMIT_NOFILE, &files);
      for (const auto& [name, value] : around.environment) setenv(name.c_str(), value.c_str(), 1);
      execv(kProgram, arguments.data());
      _exit(127);
    }
    close(ends[1]);
  }
  ~CoordinatorProcess() {
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

// Runs coordinators, one after the other, and asks them.
class CoordinatorProcessTest : public ::testing::Test {
 protected:
  explicit CoordinatorProcessTest(std::string folder) : folder_(std::move(folder)) {}

  std::string data_dir() const { return folder_ + "/data"; }
  std::string port_file() const { return folder_ + "/port"; }
  std::vector<std::string> Flags() const {
    return {"--data_dir=" + data_dir(), "--listen=127.0.0.1:0", "--port_file=" + port_file()};
  }

  // Returns when it serves; what it said before is in notices_.
  std::unique_ptr<CoordinatorProcess> Serve(const std::vector<std::string>& flags,
                                            const Surroundings& around = {}) {
    notices_.clear();
    unlink(port_file().c_str());
    auto child = std::make_unique<CoordinatorProcess>(flags, around);
    std::string line = child->ReadLine();
    while (!line.empty() && line.find("coordinator listening on") == std::string::npos) {
      notices_ += line + "\n";
      line = child->ReadLine();
    }
    EXPECT_THAT(line, ::testing::HasSubstr("coordinator listening on ")) << notices_;
    std::ifstream(port_file()) >> address_;
    stub_ =
        v1::JobService::NewStub(grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
    return child;
  }
  std::unique_ptr<CoordinatorProcess> Serve() { return Serve(Flags()); }

  grpc::Status Create(const std::string& id, v1::Job* job) {
    v1::CreateJobRequest request;
    request.set_job_id(id);
    request.mutable_spec()->mutable_problem()->mutable_toy1d();
    request.mutable_spec()->set_steps(5);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    return stub_->CreateJob(&context, request, job);
  }
  grpc::Status Create(const std::string& id) {
    v1::Job job;
    return Create(id, &job);
  }

  int CountJobs() {
    v1::ListJobsResponse list;
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const grpc::Status status = stub_->ListJobs(&context, v1::ListJobsRequest(), &list);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return list.jobs_size();
  }

  const std::string folder_;
  std::string address_;
  std::string notices_;
  std::unique_ptr<v1::JobService::Stub> stub_;
};

}  // namespace evograd::testing

#endif  // EVOGRAD_SERVER_TESTING_COORDINATOR_PROCESS_H_
