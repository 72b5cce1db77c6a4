// Preloaded into a program, it makes the files whose path has SLOW_PATH in it lie on a slow disk:
// each fsync and fdatasync takes SLOW_SYNC_MS longer, each pread SLOW_READ_MS.
//
// The delay is the fault that a test provokes; no test waits by it.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void Delay(int fd, const char* variable) {
  const char* milliseconds = getenv(variable);
  const char* part = getenv("SLOW_PATH");
  char link[64];
  char path[4096];
  if (milliseconds == NULL || part == NULL) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0) return;
  path[size] = '\0';
  if (strstr(path, part) == NULL) return;
  const long count = atol(milliseconds);
  const struct timespec pause = {count / 1000, count % 1000 * 1000000};
  nanosleep(&pause, NULL);
}

int fsync(int fd) {
  Delay(fd, "SLOW_SYNC_MS");
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  Delay(fd, "SLOW_SYNC_MS");
  return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pread(int fd, void* bytes, size_t size, off_t offset) {
  Delay(fd, "SLOW_READ_MS");
  return syscall(SYS_pread64, fd, bytes, size, offset);
}

ssize_t pread64(int fd, void* bytes, size_t size, off64_t offset) {
  return pread(fd, bytes, size, offset);
}
