#include "worker/collective/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <cstdint>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr absl::string_view kMagic = "evograd1";
constexpr size_t kNonceBytes = kSecretBytes;
constexpr size_t kProofBytes = 32;
constexpr size_t kHelloBytes = 8 + 2 * sizeof(uint32_t) + kNonceBytes;

// Of the byte order of x86-64, as all data between ranks.
std::string Number(uint32_t number) {
  return std::string(reinterpret_cast<const char*>(&number), sizeof number);
}

uint32_t NumberAt(absl::string_view bytes, size_t offset) {
  uint32_t number = 0;
  std::memcpy(&number, bytes.data() + offset, sizeof number);
  return number;
}

absl::Status Stranger(absl::string_view what) {
  return absl::UnauthenticatedError(absl::StrCat("the other side ", what));
}

}  // namespace

std::string RandomSecret() {
  std::string bytes(kSecretBytes, '\0');
  EVOGRAD_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(&bytes[0]), kSecretBytes) == 1,
                "OpenSSL has random bytes");
  return bytes;
}

Handshake::Handshake(const std::string& secret, bool acceptor, int acceptor_rank, int dialler_rank,
                     int size)
    : secret_(secret),
      acceptor_(acceptor),
      acceptor_rank_(acceptor_rank),
      dialler_rank_(dialler_rank),
      size_(size),
      next_(acceptor ? Next::kHello : Next::kAnswer) {}

Handshake Handshake::Dial(const std::string& secret, int rank, int peer, int size) {
  Handshake handshake(secret, false, peer, rank, size);
  handshake.dialler_nonce_ = RandomSecret();
  handshake.output_ = absl::StrCat(kMagic, Number(rank), Number(size), handshake.dialler_nonce_);
  return handshake;
}

Handshake Handshake::Accept(const std::string& secret, int rank, int size) {
  return Handshake(secret, true, rank, -1, size);
}

std::string Handshake::TakeOutput() { return std::exchange(output_, std::string()); }

size_t Handshake::wanted() const {
  switch (next_) {
    case Next::kHello:
      return kHelloBytes;
    case Next::kAnswer:
      return kNonceBytes + kProofBytes;
    case Next::kProof:
      return kProofBytes;
    case Next::kWelcome:
      return 1;
    case Next::kNothing:
      break;
  }
  return 0;
}

std::string Handshake::Proof(absl::string_view label) const {
  const std::string text =
      absl::StrCat(kMagic, label, Number(acceptor_rank_), Number(dialler_rank_), Number(size_),
                   acceptor_nonce_, dialler_nonce_);
  unsigned char proof[EVP_MAX_MD_SIZE];
  unsigned int bytes = 0;
  EVOGRAD_CHECK(HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
                     reinterpret_cast<const unsigned char*>(text.data()), text.size(), proof,
                     &bytes) != nullptr &&
                    bytes == kProofBytes,
                "OpenSSL offers HMAC-SHA256");
  return std::string(reinterpret_cast<const char*>(proof), bytes);
}

absl::Status Handshake::CheckProof(absl::string_view label, absl::string_view proof) const {
  const std::string expected = Proof(label);
  if (CRYPTO_memcmp(proof.data(), expected.data(), kProofBytes) != 0) {
    return Stranger("does not know the generation's secret");
  }
  return absl::OkStatus();
}

absl::Status Handshake::TakeHello(absl::string_view message) {
  if (message.substr(0, kMagic.size()) != kMagic) return Stranger("does not speak this protocol");
  const uint32_t rank = NumberAt(message, kMagic.size());
  const uint32_t size = NumberAt(message, kMagic.size() + sizeof rank);
  if (size != static_cast<uint32_t>(size_) || rank >= size ||
      rank <= static_cast<uint32_t>(acceptor_rank_)) {
    return Stranger(absl::StrCat("says that it is rank ", rank, " of ", size));
  }
  dialler_rank_ = static_cast<int>(rank);
  dialler_nonce_ = std::string(message.substr(kHelloBytes - kNonceBytes));
  acceptor_nonce_ = RandomSecret();
  output_ = absl::StrCat(acceptor_nonce_, Proof("accept"));
  next_ = Next::kProof;
  return absl::OkStatus();
}

absl::Status Handshake::TakeAnswer(absl::string_view message) {
  acceptor_nonce_ = std::string(message.substr(0, kNonceBytes));
  EVOGRAD_RETURN_IF_ERROR(CheckProof("accept", message.substr(kNonceBytes)));
  output_ = Proof("dial");
  next_ = Next::kWelcome;
  return absl::OkStatus();
}

absl::Status Handshake::Take(absl::string_view message) {
  EVOGRAD_CHECK(message.size() == wanted() && !done(), "a whole message, and one that is to come");
  switch (next_) {
    case Next::kHello:
      return TakeHello(message);
    case Next::kAnswer:
      return TakeAnswer(message);
    case Next::kProof:
      EVOGRAD_RETURN_IF_ERROR(CheckProof("dial", message));
      output_ = std::string(1, '\1');
      next_ = Next::kNothing;
      return absl::OkStatus();
    case Next::kWelcome:
    case Next::kNothing:
      break;
  }
  next_ = Next::kNothing;
  return absl::OkStatus();
}

}  // namespace evograd
