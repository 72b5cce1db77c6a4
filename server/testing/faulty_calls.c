// Preloaded into a program, it makes system calls fail as some file systems and disks do:
// FLOCK_ERROR and SYNC_FOLDER_ERROR give the errno, FLOCK_INTERRUPTED how often flock is interrupted
// first; SYNC_FAILS_IF names a file, and while it is there fdatasync fails with EIO.
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int interruptions;

int flock(int fd, int operation) {
  const char* error = getenv("FLOCK_ERROR");
  const char* interrupted = getenv("FLOCK_INTERRUPTED");
  if (interrupted != NULL && interruptions < atoi(interrupted)) {
    ++interruptions;
    errno = EINTR;
    return -1;
  }
  if (error != NULL) {
    errno = atoi(error);
    return -1;
  }
  return (int)syscall(SYS_flock, fd, operation);
}

int fsync(int fd) {
  const char* error = getenv("SYNC_FOLDER_ERROR");
  struct stat info;
  if (error != NULL && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = atoi(error);
    return -1;
  }
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  const char* trigger = getenv("SYNC_FAILS_IF");
  if (trigger != NULL && access(trigger, F_OK) == 0) {
    errno = EIO;
    return -1;
  }
  return (int)syscall(SYS_fdatasync, fd);
}
