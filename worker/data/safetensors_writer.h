// Writes tensors into a safetensors file: an 8-byte little-endian length, a JSON header of that
// length, then the tensors' bytes in the order of Add, without gaps.
//
//   SafetensorsWriter writer;
//   writer.Add("theta", "F32", {1000}, bytes);
//   writer.AddDoubles("lambda", {1}, {0.5});
//   EVOGRAD_RETURN_IF_ERROR(writer.Write("/tmp/step.safetensors"));
//
// Threads: one. Errors of Write: INVALID_ARGUMENT when the file cannot be opened,
// RESOURCE_EXHAUSTED when it cannot be written to its end (nothing is left at `path` then).
#ifndef EVOGRAD_WORKER_DATA_SAFETENSORS_WRITER_H_
#define EVOGRAD_WORKER_DATA_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace evograd {

class SafetensorsWriter {
 public:
  // `type` is one of the format's names (F32, F64, I64, U8, BOOL); `bytes` are the elements in
  // row-major order, little-endian. A name is added once.
  void Add(const std::string& name, const std::string& type, const std::vector<int64_t>& shape,
           absl::string_view bytes);
  void AddDoubles(const std::string& name, const std::vector<int64_t>& shape,
                  const std::vector<double>& values);

  // Text that goes with the tensors; a key is added once.
  void AddText(const std::string& key, const std::string& text);

  // The whole file.
  std::string Serialise() const;
  absl::Status Write(const std::string& path) const;

 private:
  // Of the header, comma-separated.
  std::string entries_;
  std::string texts_;
  std::string data_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SAFETENSORS_WRITER_H_
