#include "client/cli/interrupts.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

#include "common/status_macros.h"

namespace evograd {

Interrupts::Interrupts() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action;
    // A blocked signal comes to a signalfd even where it is ignored, and whoever ignores it (nohup;
    // a shell, for what it starts with &) wants it to change nothing.
    const bool ignored = sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
    if (!ignored) sigaddset(&signals, signal);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = signalfd(-1, &signals, SFD_CLOEXEC);
  stop_fd_ = eventfd(0, EFD_CLOEXEC);
  if (signal_fd_ < 0 || stop_fd_ < 0) {
    // The first thing that the program does, so nothing is left behind.
    std::fprintf(stderr, "evograd: no more files can be opened: %s\n", std::strerror(errno));
    _exit(1);
  }
  thread_ = std::thread([this] { Serve(); });
}

Interrupts::~Interrupts() {
  const uint64_t one = 1;
  EVOGRAD_CHECK(write(stop_fd_, &one, sizeof(one)) == sizeof(one),
                "an eventfd takes a small number");
  thread_.join();
  close(stop_fd_);
  close(signal_fd_);
}

void Interrupts::SetHandler(std::function<void()> handler) {
  absl::MutexLock lock(&mutex_);
  handler_ = std::move(handler);
  if (interrupted_ && handler_) handler_();
}

bool Interrupts::interrupted() const {
  absl::MutexLock lock(&mutex_);
  return interrupted_;
}

void Interrupts::Serve() {
  while (true) {
    pollfd ready[2] = {{signal_fd_, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) continue;  // EINTR
    if (ready[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signal_fd_, &info, sizeof(info)) == sizeof(info)) {
      Interrupt(static_cast<int>(info.ssi_signo));
    }
  }
}

void Interrupts::Interrupt(int signal) {
  absl::MutexLock lock(&mutex_);
  const bool closed = signal == SIGPIPE;
  // Ctrl-C ends what reads the output too (`| tee`): that is no second wish.
  if (closed && interrupted_) return;
  // Children die with this process (client/lib/child_process.h).
  if (signalled_ || !handler_) {
    on_exit_();
    _exit(128 + signal);
  }
  signalled_ = !closed;
  interrupted_ = true;
  handler_();
}

}  // namespace evograd
