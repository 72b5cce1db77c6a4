// SHA-256 (OpenSSL's) over pieces of memory.
//
//   Sha256 hash;
//   hash.Update(data, size_bytes);
//   std::string hex = hash.HexDigest();  // lower case; the object is spent
#ifndef EVOGRAD_COMMON_SHA256_H_
#define EVOGRAD_COMMON_SHA256_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

namespace evograd {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(const void* data, size_t size_bytes);
  void Update(absl::string_view bytes) { Update(bytes.data(), bytes.size()); }
  std::string HexDigest();
  // The first 8 bytes of the digest, read as a little-endian number.
  uint64_t Digest64();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace evograd

#endif  // EVOGRAD_COMMON_SHA256_H_
