// Who is at the other end, as gRPC writes it: "ipv4:127.0.0.1:4711", "ipv6:%5B::1%5D:4711". All
// that come over a socket in the file system are "unix:": one host, whose connections are not told
// apart.
#ifndef EVOGRAD_SERVER_RPC_PEER_NAME_H_
#define EVOGRAD_SERVER_RPC_PEER_NAME_H_

#include <string>

namespace evograd {

// Without the port, which tells connections of one host apart.
inline std::string HostOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

inline bool NamesConnection(const std::string& peer) { return peer.rfind("unix:", 0) != 0; }

}  // namespace evograd

#endif  // EVOGRAD_SERVER_RPC_PEER_NAME_H_
