#include "worker/engine/checkpoint.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

constexpr char kFormat[] = "evograd checkpoint";
constexpr size_t kDigestCharacters = 64;
// That of a version 2 held, in base64, three numbers for each hyperparameter and one more for each
// result that was not acknowledged.
constexpr int64_t kMaxHeaderBytes = int64_t{256} << 20;

// As it stands in the header, before its digest.
constexpr absl::string_view kDigestKey = "\"sha256\":\"";

std::string NoDigest() { return std::string(kDigestCharacters, '0'); }

// Where the digest stands in the file; npos where there is none.
size_t DigestPlace(absl::string_view file) {
  const size_t key = file.find(kDigestKey);
  if (key == absl::string_view::npos) return key;
  const size_t place = key + kDigestKey.size();
  return place + kDigestCharacters <= file.size() ? place : absl::string_view::npos;
}

std::string DigestOf(absl::string_view file, size_t place) {
  Sha256 hash;
  hash.Update(file.substr(0, place));
  hash.Update(NoDigest());
  hash.Update(file.substr(place + kDigestCharacters));
  return hash.HexDigest();
}

absl::Status Damaged(absl::string_view how) {
  return absl::DataLossError(
      absl::StrCat("the job's saved state is damaged: ", how, "; take it from another copy"));
}

}  // namespace

std::string SealCheckpoint(SafetensorsWriter writer, int64_t version) {
  writer.AddText("format", kFormat);
  writer.AddText("version", absl::StrCat(version));
  writer.AddText("sha256", NoDigest());
  std::string file = std::move(writer).Serialise();
  const size_t place = DigestPlace(file);
  EVOGRAD_CHECK(place != std::string::npos, "the writer writes what it is given");
  file.replace(place, kDigestCharacters, DigestOf(file, place));
  return file;
}

absl::StatusOr<Checkpoint> OpenCheckpoint(absl::string_view file) {
  const size_t place = DigestPlace(file);
  if (place == absl::string_view::npos) return Damaged("it has no SHA-256");
  if (file.substr(place, kDigestCharacters) != DigestOf(file, place)) {
    return Damaged("its SHA-256 does not fit");
  }
  EVOGRAD_ASSIGN_OR_RETURN(
      SafetensorsReader reader,
      SafetensorsReader::OpenBytes(file, "the job's saved state", kMaxHeaderBytes));
  const auto text = [&](const char* key) {
    const auto found = reader.metadata().find(key);
    return found == reader.metadata().end() ? std::string() : found->second;
  };
  if (text("format") != kFormat) return Damaged("it is no checkpoint");
  int64_t version = 0;
  if (!absl::SimpleAtoi(text("version"), &version) || version < kOldestReadCheckpointVersion ||
      version > kCheckpointVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the saved state has version ", text("version"),
                     "; this program reads versions ", kOldestReadCheckpointVersion, " to ",
                     kCheckpointVersion, "; use a program of the version that wrote it"));
  }
  return Checkpoint{std::move(reader), version};
}

}  // namespace evograd
