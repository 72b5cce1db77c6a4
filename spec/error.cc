#include "spec/error.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"
#include "common/status_macros.h"
#include "proto/google/rpc/error_details.pb.h"

namespace evograd {
namespace {

template <typename Message>
void SetPayload(absl::Status* status, const char* type_url, const Message& message) {
  status->SetPayload(type_url, absl::Cord(message.SerializeAsString()));
}

template <typename Message>
Message GetPayload(const absl::Status& status, const char* type_url) {
  Message message;
  const absl::optional<absl::Cord> payload = status.GetPayload(type_url);
  if (payload.has_value() && !message.ParseFromString(std::string(*payload))) message.Clear();
  return message;
}

}  // namespace

absl::Status MakeError(absl::StatusCode code, const std::string& message, const std::string& reason,
                       const std::map<std::string, std::string>& metadata) {
  EVOGRAD_CHECK(code != absl::StatusCode::kOk, "an error is not OK");
  absl::Status status(code, message);
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain(kErrorDomain);
  for (const auto& entry : metadata) (*info.mutable_metadata())[entry.first] = entry.second;
  SetPayload(&status, kErrorInfoTypeUrl, info);
  return status;
}

absl::Status InvalidFields(const std::vector<FieldViolation>& violations) {
  EVOGRAD_CHECK(!violations.empty(), "a field is at fault");
  const FieldViolation& first = violations.front();
  std::string message = absl::StrCat(first.field, ": ", first.description);
  if (violations.size() > 1) {
    absl::StrAppend(&message, " (", violations.size() - 1, " more ",
                    violations.size() == 2 ? "field is" : "fields are", " wrong)");
  }
  absl::Status status = MakeError(absl::StatusCode::kInvalidArgument, message, "INVALID_FIELDS",
                                  {{"field", first.field}});
  google::rpc::BadRequest bad_request;
  for (const FieldViolation& violation : violations) {
    auto* entry = bad_request.add_field_violations();
    entry->set_field(violation.field);
    entry->set_description(violation.description);
  }
  SetPayload(&status, kBadRequestTypeUrl, bad_request);
  return status;
}

ErrorInfo GetErrorInfo(const absl::Status& status) {
  const auto message = GetPayload<google::rpc::ErrorInfo>(status, kErrorInfoTypeUrl);
  ErrorInfo info{message.reason(), message.domain(), {}};
  for (const auto& entry : message.metadata()) info.metadata[entry.first] = entry.second;
  return info;
}

std::vector<FieldViolation> GetFieldViolations(const absl::Status& status) {
  std::vector<FieldViolation> violations;
  const auto message = GetPayload<google::rpc::BadRequest>(status, kBadRequestTypeUrl);
  for (const auto& entry : message.field_violations()) {
    violations.push_back({entry.field(), entry.description()});
  }
  return violations;
}

}  // namespace evograd
