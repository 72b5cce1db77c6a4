// Random UUIDs (RFC 4122, version 4), for request ids.
#ifndef EVOGRAD_CLIENT_LIB_UUID_H_
#define EVOGRAD_CLIENT_LIB_UUID_H_

#include <string>

namespace evograd {

// "xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx" from the kernel's random source. Any thread.
std::string NewUuid();

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_UUID_H_
