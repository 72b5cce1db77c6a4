#include "common/sha256.h"

#include <openssl/evp.h>

#include <cstring>

#include "absl/strings/escaping.h"
#include "common/status_macros.h"

namespace evograd {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  unsigned char digest[EVP_MAX_MD_SIZE];
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  EVOGRAD_CHECK(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) == 1,
                "OpenSSL offers SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::Update(const void* data, size_t size_bytes) {
  EVOGRAD_CHECK(EVP_DigestUpdate(state_->context, data, size_bytes) == 1,
                "a digest is read only once");
}

std::string Sha256::HexDigest() {
  unsigned int size = 0;
  EVOGRAD_CHECK(EVP_DigestFinal_ex(state_->context, state_->digest, &size) == 1,
                "a digest is read only once");
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(state_->digest), size));
}

uint64_t Sha256::Digest64() {
  unsigned int size = 0;
  EVOGRAD_CHECK(EVP_DigestFinal_ex(state_->context, state_->digest, &size) == 1,
                "a digest is read only once");
  uint64_t value = 0;
  std::memcpy(&value, state_->digest, sizeof(value));
  return value;
}

}  // namespace evograd
