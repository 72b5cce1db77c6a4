// copy_safetensors IN OUT        reads every tensor of IN (a file, an index of several, or a
//                                folder of Hugging Face) and writes them all into OUT.
// copy_safetensors --check IN…   one line for each: "ok", or the error, after reading all tensors.
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdio>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "worker/data/safetensors.h"
#include "worker/data/safetensors_writer.h"

namespace {

using evograd::SafetensorsReader;
using evograd::SafetensorsWriter;

const char* NameOf(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return "F64";
    case at::kFloat:
      return "F32";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kLong:
      return "I64";
    case at::kInt:
      return "I32";
    case at::kShort:
      return "I16";
    case at::kChar:
      return "I8";
    case at::kByte:
      return "U8";
    default:
      return "BOOL";
  }
}

absl::StatusOr<SafetensorsReader> Open(const std::string& path) {
  if (absl::EndsWith(path, ".index.json")) return SafetensorsReader::OpenSharded(path);
  if (absl::EndsWith(path, "/")) return SafetensorsReader::OpenModel(path);
  return SafetensorsReader::Open(path);
}

absl::Status ReadAll(const std::string& path, SafetensorsWriter* writer) {
  const absl::StatusOr<SafetensorsReader> file = Open(path);
  if (!file.ok()) return file.status();
  for (const auto& [name, entry] : file->entries()) {
    const absl::StatusOr<at::Tensor> tensor = file->Read(name);
    if (!tensor.ok()) return tensor.status();
    writer->Add(name, NameOf(tensor->scalar_type()), tensor->sizes().vec(),
                absl::string_view(static_cast<const char*>(tensor->data_ptr()), tensor->nbytes()));
  }
  for (const auto& [key, text] : file->metadata()) writer->AddText(key, text);
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "copy_safetensors IN OUT | --check IN...\n");
    return 2;
  }
  if (std::string(argv[1]) == "--check") {
    for (int i = 2; i < argc; ++i) {
      SafetensorsWriter writer;
      std::printf("%s\n", ReadAll(argv[i], &writer).ToString().c_str());
    }
    return 0;
  }
  SafetensorsWriter writer;
  absl::Status status = ReadAll(argv[1], &writer);
  if (status.ok()) status = writer.Write(argv[2]);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
