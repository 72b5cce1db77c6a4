// Goal: two ranks of one generation get to know each other, and nobody else gets in: who lacks the
// secret, repeats what was said before, or takes what was meant for another rank.
//
// Method: both sides without a socket, messages carried by hand; each refusal has the accepted
// conversation as its twin.
#include "worker/collective/handshake.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace evograd {
namespace {

// Carries messages to and fro until nobody says anything; what `acceptor` made of it.
absl::Status Talk(Handshake* dialler, Handshake* acceptor) {
  for (int i = 0; i < 4; ++i) {
    const std::string there = dialler->TakeOutput();
    if (there.size() != acceptor->wanted()) break;
    if (!there.empty()) {
      const absl::Status status = acceptor->Take(there);
      if (!status.ok()) return status;
    }
    const std::string back = acceptor->TakeOutput();
    if (back.size() != dialler->wanted()) break;
    if (!back.empty()) {
      const absl::Status status = dialler->Take(back);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

TEST(Handshake, RanksOfOneGenerationProveThemselves) {
  const std::string secret = RandomSecret();
  Handshake dialler = Handshake::Dial(secret, 2, 0, 3);
  Handshake acceptor = Handshake::Accept(secret, 0, 3);
  EXPECT_EQ(Talk(&dialler, &acceptor), absl::OkStatus());
  EXPECT_TRUE(dialler.done());
  EXPECT_TRUE(acceptor.done());
  EXPECT_EQ(dialler.peer(), 0);
  EXPECT_EQ(acceptor.peer(), 2);
  EXPECT_EQ(dialler.wanted(), 0);
  EXPECT_EQ(acceptor.wanted(), 0);
}

TEST(Handshake, SecretsAreNeverTheSame) {
  EXPECT_EQ(RandomSecret().size(), kSecretBytes);
  EXPECT_NE(RandomSecret(), RandomSecret());
}

TEST(Handshake, AnotherSecretRankOrSizeIsRefused) {
  const std::string secret = RandomSecret();
  struct Case {
    const char* what;
    Handshake dialler;
  };
  for (Case& c : std::vector<Case>{
           {"another secret", Handshake::Dial(RandomSecret(), 2, 0, 3)},
           {"an empty secret", Handshake::Dial("", 2, 0, 3)},
           {"meant for rank 1", Handshake::Dial(secret, 2, 1, 3)},
           {"the acceptor's own rank", Handshake::Dial(secret, 0, 0, 3)},
           {"a rank beyond the size", Handshake::Dial(secret, 3, 0, 3)},
           {"another size", Handshake::Dial(secret, 2, 0, 4)},
       }) {
    Handshake acceptor = Handshake::Accept(secret, 0, 3);
    EXPECT_EQ(Talk(&c.dialler, &acceptor).code(), absl::StatusCode::kUnauthenticated) << c.what;
    EXPECT_FALSE(acceptor.done()) << c.what;
    EXPECT_FALSE(c.dialler.done()) << c.what;
  }
}

TEST(Handshake, GarbageIsRefused) {
  Handshake acceptor = Handshake::Accept(RandomSecret(), 0, 3);
  EXPECT_EQ(acceptor.Take(std::string(acceptor.wanted(), '\0')).code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(Handshake, WhatWasSaidBeforeProvesNothing) {
  const std::string secret = RandomSecret();
  Handshake dialler = Handshake::Dial(secret, 1, 0, 2);
  Handshake acceptor = Handshake::Accept(secret, 0, 2);
  const std::string hello = dialler.TakeOutput();
  ASSERT_EQ(acceptor.Take(hello), absl::OkStatus());
  ASSERT_EQ(dialler.Take(acceptor.TakeOutput()), absl::OkStatus());
  const std::string proof = dialler.TakeOutput();
  Handshake again = Handshake::Accept(secret, 0, 2);
  ASSERT_EQ(again.Take(hello), absl::OkStatus());
  EXPECT_EQ(again.Take(proof).code(), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(acceptor.Take(proof), absl::OkStatus());
}

TEST(Handshake, AnAcceptorsOwnProofIsNone) {
  // A stranger that sends back what it was sent.
  const std::string secret = RandomSecret();
  Handshake acceptor = Handshake::Accept(secret, 0, 2);
  ASSERT_EQ(acceptor.Take(Handshake::Dial("", 1, 0, 2).TakeOutput()), absl::OkStatus());
  const std::string answer = acceptor.TakeOutput();
  EXPECT_EQ(acceptor.Take(answer.substr(answer.size() - acceptor.wanted())).code(),
            absl::StatusCode::kUnauthenticated);
}

}  // namespace
}  // namespace evograd
