// tokenize MODEL: for each record of the standard input, a line: ids, blank-separated; "|"; where
// words start; "|"; how many ids there were before truncation. A record: a byte 'e' (Encode), 't'
// (EncodeText) or 'w' (EncodeWords); the most tokens and the number of texts, then each text's
// length and bytes; numbers in 32 bits, little-endian.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "worker/data/sentencepiece_tokenizer.h"

namespace {

uint32_t ReadNumber() {
  uint32_t number = 0;
  if (std::fread(&number, sizeof number, 1, stdin) != 1) std::exit(3);
  return number;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "tokenize MODEL\n");
    return 2;
  }
  const auto tokenizer = evograd::SentencePieceTokenizer::Open(argv[1]);
  if (!tokenizer.ok()) {
    std::fprintf(stderr, "%s\n", tokenizer.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n",
              absl::StrCat(tokenizer->vocabulary_size(), " ", tokenizer->mask_id()).c_str());
  for (int mode = std::getchar(); mode != EOF; mode = std::getchar()) {
    const uint32_t max_tokens = ReadNumber();
    std::vector<std::string> texts(ReadNumber());
    for (std::string& text : texts) {
      text.resize(ReadNumber());
      if (std::fread(text.data(), 1, text.size(), stdin) != text.size()) return 3;
    }
    evograd::TokenSequence sequence;
    if (mode == 'e') {
      sequence.ids = tokenizer->Encode(texts[0]);
    } else if (mode == 't') {
      sequence = tokenizer->EncodeText(texts[0], max_tokens);
    } else {
      sequence = tokenizer->EncodeWords(texts, max_tokens);
    }
    std::printf("%s\n",
                absl::StrCat(absl::StrJoin(sequence.ids, " "), "|",
                             absl::StrJoin(sequence.word_starts, " "), "|", sequence.untruncated)
                    .c_str());
  }
  return 0;
}
