#include "worker/engine/tensor_file.h"

#include <ATen/Functions.h>
#include <google/protobuf/util/json_util.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace evograd {
namespace {

absl::StatusOr<std::string> TypeName(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return std::string("F32");
    case at::kDouble:
      return std::string("F64");
    case at::kLong:
      return std::string("I64");
    case at::kInt:
      return std::string("I32");
    case at::kByte:
      return std::string("U8");
    case at::kBool:
      return std::string("BOOL");
    default:
      return absl::InternalError(absl::StrCat("a tensor is of type ", c10::toString(type),
                                              ", which the file has no name for"));
  }
}

}  // namespace

absl::StatusOr<std::string> SpecAsJson(const v1::JobSpec& spec) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(spec, &json).ok()) {
    return absl::InternalError("the job's spec has no JSON form");
  }
  return json;
}

absl::Status AddTensor(const std::string& name, const at::Tensor& tensor,
                       SafetensorsWriter* writer) {
  const at::Tensor host = tensor.detach().cpu().contiguous();
  EVOGRAD_ASSIGN_OR_RETURN(const std::string type, TypeName(host.scalar_type()));
  writer->Add(name, type, host.sizes().vec(),
              {static_cast<const char*>(host.const_data_ptr()), host.nbytes()});
  return absl::OkStatus();
}

absl::Status AddFlat(const std::string& prefix, const ParameterLayout& layout,
                     const at::Tensor& flat, SafetensorsWriter* writer) {
  for (const TensorSlot& slot : layout.slots()) {
    EVOGRAD_RETURN_IF_ERROR(AddTensor(absl::StrCat(prefix, slot.name),
                                      flat.narrow(0, slot.offset, slot.size).view(slot.shape),
                                      writer));
  }
  return absl::OkStatus();
}

}  // namespace evograd
