#include "worker/collective/testing/frames.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

namespace evograd {
namespace {

bool SendAll(int fd, const char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    data += sent;
    bytes -= sent;
  }
  return true;
}

bool ReceiveAll(int fd, char* data, size_t bytes) {
  while (bytes > 0) {
    const ssize_t received = recv(fd, data, bytes, 0);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return false;
    data += received;
    bytes -= received;
  }
  return true;
}

bool ReceiveNumber(int fd, uint32_t* number) {
  return ReceiveAll(fd, reinterpret_cast<char*>(number), sizeof *number);
}

void AppendNumber(uint32_t number, std::string* text) {
  text->append(reinterpret_cast<const char*>(&number), sizeof number);
}

}  // namespace

bool WriteFrame(int fd, const std::vector<std::string>& fields) {
  std::string text;
  AppendNumber(fields.size(), &text);
  for (const std::string& field : fields) {
    AppendNumber(field.size(), &text);
    text += field;
  }
  return SendAll(fd, text.data(), text.size());
}

bool ReadFrame(int fd, std::vector<std::string>* fields) {
  uint32_t count = 0;
  if (!ReceiveNumber(fd, &count)) return false;
  fields->assign(count, "");
  for (std::string& field : *fields) {
    uint32_t bytes = 0;
    if (!ReceiveNumber(fd, &bytes)) return false;
    field.resize(bytes);
    if (!ReceiveAll(fd, &field[0], bytes)) return false;
  }
  return true;
}

}  // namespace evograd
