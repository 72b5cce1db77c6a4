// Goal: the digest is SHA-256. Method: the two published examples of FIPS 180-2, whole and in
// pieces.
#include "common/sha256.h"

#include <gtest/gtest.h>

namespace evograd {
namespace {

TEST(Sha256Test, PublishedExamples) {
  Sha256 abc;
  abc.Update("abc");
  EXPECT_EQ(abc.HexDigest(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

  Sha256 pieces;
  pieces.Update("abcdbcdecdefdefgefghfghighij");
  pieces.Update("hijkijkljklmklmnlmnomnopnopq");
  EXPECT_EQ(pieces.HexDigest(), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256Test, Digest64IsTheDigestsBeginning) {
  Sha256 abc;
  abc.Update("abc");
  EXPECT_EQ(abc.Digest64(), 0xeacf018fbf1678baULL);
}

}  // namespace
}  // namespace evograd
