// The name that a misspelt one was probably meant to be.
#ifndef EVOGRAD_SPEC_NEAREST_H_
#define EVOGRAD_SPEC_NEAREST_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace evograd {

// The member of `names` with the smallest edit distance to `name` (case, - and _ do not count), if
// at most a third of the letters differ; else empty. Names longer than 64 bytes have no neighbour.
std::string Nearest(absl::string_view name, const std::vector<std::string>& names);

}  // namespace evograd

#endif  // EVOGRAD_SPEC_NEAREST_H_
