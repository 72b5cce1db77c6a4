// The real programs of a benchmark: child processes on 127.0.0.1 over a temporary folder. What does
// not work ends the benchmark. Threads: one.
//
//   const TemporaryFolder folder;
//   Coordinator coordinator("server/coordinator", folder.path());
//   Program worker({"worker/worker", "--coordinator=" + coordinator.address()}, folder.path() +
//   "/w1.log"); worker.Kill();
#ifndef EVOGRAD_BENCH_PROGRAMS_H_
#define EVOGRAD_BENCH_PROGRAMS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

namespace evograd::bench {

// Says so on standard error and exits with code 1.
[[noreturn]] void Die(const std::string& what);

// Between two looks at what only its state tells.
void Pause(double seconds);

// Value below which `share` of `values` lie; 0 of none.
double Quantile(std::vector<double> values, double share);

// Removed with what is in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Killed with its parent.
class Program {
 public:
  // What it prints goes to `log`.
  Program(const std::vector<std::string>& command, const std::string& log);
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  bool Runs() const;
  // kill -9, and its end.
  void Kill();

 private:
  pid_t pid_ = -1;
};

class Coordinator {
 public:
  // Serves when this returns, on a folder `data` of `folder`.
  Coordinator(std::string program, std::string folder);

  const std::string& address() const { return address_; }
  void Kill();
  // On the same folder and port.
  void StartAgain();

 private:
  void Start(const std::string& listen);

  const std::string program_;
  const std::string folder_;
  std::string address_;
  int starts_ = 0;
  std::unique_ptr<Program> process_;
};

}  // namespace evograd::bench

#endif  // EVOGRAD_BENCH_PROGRAMS_H_
