// The frame of a serialised state: fields in a fixed order, each preceded by its length, between a
// magic number with a version and a SHA-256 of everything before it.
//
//   StateWriter writer;
//   writer.Number(phases);
//   writer.Bytes(meta);
//   std::string state = std::move(writer).Finish();
//
//   EVOGRAD_ASSIGN_OR_RETURN(StateReader reader, StateReader::Open(state));
//   EVOGRAD_ASSIGN_OR_RETURN(int64_t phases, reader.Number());
//
// Numbers are little-endian. Errors: DATA_LOSS when the bytes are not whole or a field is not
// there, FAILED_PRECONDITION when they are of another version.
#ifndef EVOGRAD_WORKER_ENGINE_STATE_CODEC_H_
#define EVOGRAD_WORKER_ENGINE_STATE_CODEC_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

inline constexpr int64_t kStateVersion = 1;

class StateWriter {
 public:
  // `size_hint` bytes are reserved: a state is mostly tensors whose size is known.
  explicit StateWriter(size_t size_hint = 0, int64_t version = kStateVersion);

  void Number(int64_t value);
  void Bytes(absl::string_view bytes);
  void Doubles(const std::vector<double>& values);

  std::string Finish() &&;

 private:
  std::string state_;
};

// Reads what StateWriter wrote, in its order; refers to the bytes given to Open.
class StateReader {
 public:
  static absl::StatusOr<StateReader> Open(absl::string_view state);

  absl::StatusOr<int64_t> Number();
  absl::StatusOr<absl::string_view> Bytes();
  absl::StatusOr<std::vector<double>> Doubles();
  // DATA_LOSS when something is left.
  absl::Status Close() const;

 private:
  explicit StateReader(absl::string_view rest) : rest_(rest) {}

  absl::string_view rest_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_ENGINE_STATE_CODEC_H_
