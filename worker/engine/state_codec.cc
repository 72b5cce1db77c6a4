#include "worker/engine/state_codec.h"

#include <cstring>
#include <utility>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "common/sha256.h"
#include "common/status_macros.h"

#ifndef ABSL_IS_LITTLE_ENDIAN
#error "numbers are written as they lie in memory, which the format wants little-endian"
#endif

namespace evograd {
namespace {

constexpr absl::string_view kMagic = "evostate";
constexpr size_t kDigestBytes = 64;  // SHA-256 in hexadecimal

std::string Digest(absl::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.HexDigest();
}

absl::Status CutShort() { return absl::DataLossError("the job's saved state ends too early"); }

}  // namespace

StateWriter::StateWriter(size_t size_hint, int64_t version) {
  state_.reserve(size_hint + 1024);
  state_.append(kMagic.data(), kMagic.size());
  Number(version);
}

void StateWriter::Number(int64_t value) {
  state_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void StateWriter::Bytes(absl::string_view bytes) {
  Number(static_cast<int64_t>(bytes.size()));
  state_.append(bytes.data(), bytes.size());
}

void StateWriter::Doubles(const std::vector<double>& values) {
  Bytes(absl::string_view(reinterpret_cast<const char*>(values.data()),
                          values.size() * sizeof(double)));
}

std::string StateWriter::Finish() && {
  state_ += Digest(state_);
  return std::move(state_);
}

absl::StatusOr<StateReader> StateReader::Open(absl::string_view state) {
  if (state.size() < kMagic.size() + sizeof(int64_t) + kDigestBytes) return CutShort();
  const absl::string_view digest = state.substr(state.size() - kDigestBytes);
  state.remove_suffix(kDigestBytes);
  if (Digest(state) != digest) {
    return absl::DataLossError("the job's saved state does not fit its own SHA-256");
  }
  if (state.substr(0, kMagic.size()) != kMagic) {
    return absl::DataLossError("these bytes are no job's saved state");
  }
  StateReader reader(state.substr(kMagic.size()));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t version, reader.Number());
  if (version != kStateVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("the job's saved state has format ", version, " and this worker reads ",
                     kStateVersion, "; use a worker of the version that wrote it"));
  }
  return reader;
}

absl::StatusOr<int64_t> StateReader::Number() {
  int64_t value = 0;
  if (rest_.size() < sizeof value) return CutShort();
  std::memcpy(&value, rest_.data(), sizeof value);
  rest_.remove_prefix(sizeof value);
  return value;
}

absl::StatusOr<absl::string_view> StateReader::Bytes() {
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t size, Number());
  if (size < 0 || static_cast<uint64_t>(size) > rest_.size()) return CutShort();
  const absl::string_view bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

absl::StatusOr<std::vector<double>> StateReader::Doubles() {
  EVOGRAD_ASSIGN_OR_RETURN(const absl::string_view bytes, Bytes());
  if (bytes.size() % sizeof(double) != 0) return CutShort();
  std::vector<double> values(bytes.size() / sizeof(double));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

absl::Status StateReader::Close() const {
  if (rest_.empty()) return absl::OkStatus();
  return absl::DataLossError(
      absl::StrCat("the job's saved state has ", rest_.size(), " bytes too many"));
}

}  // namespace evograd
