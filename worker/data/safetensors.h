// Reader of safetensors files (https://github.com/huggingface/safetensors): an 8-byte little-endian
// length, a JSON header of that length that names each tensor with type, shape and place, then the
// tensors' bytes without gaps.
//
//   EVOGRAD_ASSIGN_OR_RETURN(SafetensorsReader file,
//                            SafetensorsReader::OpenModel("/models/xlm-roberta-base"));
//   EVOGRAD_ASSIGN_OR_RETURN(at::Tensor bias, file.Read("encoder.layer.0.output.dense.bias"));
//   EVOGRAD_RETURN_IF_ERROR(LoadInto(targets, file, {{"roberta."}, {"lm_head.", "pooler."}}));
//
// A file is not trusted: the header is read up to a bound, every name
// once, every place inside the file, as long as type and shape say, with neither overlap nor gap.
// Memory is used for the header and for tensors that are asked for, never more than the file has
// bytes.
//
// Threads: a reader is immutable; any number may read at once. Errors, each naming the file, the
// tensor and the cause: NOT_FOUND (no such file or tensor), PERMISSION_DENIED, DATA_LOSS (damaged,
// truncated, not this format), UNIMPLEMENTED (a type that LibTorch is not given here),
// RESOURCE_EXHAUSTED (header beyond the bound, no memory).
#ifndef EVOGRAD_WORKER_DATA_SAFETENSORS_H_
#define EVOGRAD_WORKER_DATA_SAFETENSORS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/limits.h"
#include "worker/data/file_bytes.h"

namespace evograd {

struct SafetensorsEntry {
  at::ScalarType type = at::kFloat;
  std::vector<int64_t> shape;
  int64_t offset = 0;  // in the file, in bytes
  int64_t bytes = 0;
  int file = 0;  // which of the reader's files
};

class SafetensorsReader {
 public:
  static absl::StatusOr<SafetensorsReader> Open(const std::string& path);
  // A file that lies in memory, which outlives the reader; `name` stands for its path in errors.
  static absl::StatusOr<SafetensorsReader> OpenBytes(
      absl::string_view bytes, const std::string& name,
      int64_t max_header_bytes = limits::kMaxSafetensorsHeaderBytes);
  // Of several files: `path` is Hugging Face's model.safetensors.index.json, which says for each
  // tensor in which file of the same folder it lies.
  static absl::StatusOr<SafetensorsReader> OpenSharded(const std::string& path);
  // What a folder of Hugging Face holds: model.safetensors, else model.safetensors.index.json.
  static absl::StatusOr<SafetensorsReader> OpenModel(const std::string& folder);

  // The file, or the index of several.
  const std::string& path() const { return path_; }
  // By name, in the order of names.
  const std::map<std::string, SafetensorsEntry>& entries() const { return entries_; }
  // The header's __metadata__; of several files: the first one's that says so.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  // A copy on the CPU, of the file's type and shape.
  absl::StatusOr<at::Tensor> Read(const std::string& name) const;

 private:
  SafetensorsReader() = default;
  absl::Status Append(FileBytes file,
                      int64_t max_header_bytes = limits::kMaxSafetensorsHeaderBytes);

  std::string path_;
  std::vector<FileBytes> files_;
  std::map<std::string, SafetensorsEntry> entries_;
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

struct LoadOptions {
  // Stripped, the first that fits, from the names of the file ("roberta.").
  std::vector<std::string> stripped_prefixes;
  // Names in the file, after stripping, that begin so and have no target are left out silently;
  // any other is an error.
  std::vector<std::string> ignored_prefixes;
};

// Writes the file's tensors into `targets`, whatever their device, floating-point numbers
// converted to the target's type. Targets are left alone unless every one of them has a tensor of
// its shape and the file has no others.
//
// Errors besides the reader's: INVALID_ARGUMENT lists missing, extra and wrongly shaped tensors, up
// to limits::kMaxNamedTensors of each; DATA_LOSS names a tensor with a number that is not finite in
// the target's type (targets before it are then overwritten).
absl::Status LoadInto(const std::vector<NamedTensor>& targets, const SafetensorsReader& file,
                      const LoadOptions& options);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SAFETENSORS_H_
