// Who may connect to a socket in the file system, tried as that user.
#ifndef EVOGRAD_COMMON_TESTING_CONNECT_AS_H_
#define EVOGRAD_COMMON_TESTING_CONNECT_AS_H_

#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace evograd::testing {

// 0, or the errno that `user` gets. Only root can be another user.
inline int ConnectAs(uid_t user, const std::string& path) {
  const pid_t child = fork();
  if (child == 0) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (user != geteuid() && setresuid(user, user, user) != 0) _exit(255);
    const bool connected =
        connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    _exit(connected ? 0 : errno);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace evograd::testing

#endif  // EVOGRAD_COMMON_TESTING_CONNECT_AS_H_
