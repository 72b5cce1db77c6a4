// How two ranks that have a connection prove to each other that they belong to one generation.
//
//   dialler                                          acceptor
//   hello:   magic, its rank, size, nonce   ->
//                                           <-       answer:  nonce, proof "accept"
//   proof "dial"                            ->
//                                           <-       welcome: one byte
//
// A proof is HMAC-SHA256 under the generation's secret over its label, both ranks, the size and
// both nonces: the secret never travels, no proof can be used again or for another rank, and each
// side has one before anything else is sent. The acceptor has the lower rank.
//
// No socket in here: bytes in, bytes out. Threads: one.
#ifndef EVOGRAD_WORKER_COLLECTIVE_HANDSHAKE_H_
#define EVOGRAD_WORKER_COLLECTIVE_HANDSHAKE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evograd {

inline constexpr size_t kSecretBytes = 32;

// kSecretBytes that nobody can guess.
std::string RandomSecret();

class Handshake {
 public:
  // `peer` is the rank that should answer.
  static Handshake Dial(const std::string& secret, int rank, int peer, int size);
  static Handshake Accept(const std::string& secret, int rank, int size);

  // What is to be sent now; each byte once.
  std::string TakeOutput();

  // The size of the message that is to come next; 0 when there is none any more.
  size_t wanted() const;

  // Takes a message of wanted() bytes. UNAUTHENTICATED when the other side is none of the
  // generation; then the connection is to be closed.
  absl::Status Take(absl::string_view message);

  // Both sides have proved themselves.
  bool done() const { return next_ == Next::kNothing; }
  // The acceptor knows it once done.
  int peer() const { return acceptor_ ? dialler_rank_ : acceptor_rank_; }

 private:
  // The message that is to come.
  enum class Next { kHello, kAnswer, kProof, kWelcome, kNothing };

  Handshake(const std::string& secret, bool acceptor, int acceptor_rank, int dialler_rank,
            int size);

  absl::Status TakeHello(absl::string_view message);
  absl::Status TakeAnswer(absl::string_view message);
  absl::Status CheckProof(absl::string_view label, absl::string_view proof) const;
  std::string Proof(absl::string_view label) const;

  std::string secret_;
  bool acceptor_;
  int acceptor_rank_;
  int dialler_rank_;
  int size_;
  std::string acceptor_nonce_;
  std::string dialler_nonce_;
  std::string output_;
  Next next_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_COLLECTIVE_HANDSHAKE_H_
