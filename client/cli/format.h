// Numbers, times and tables for people. Pure functions.
#ifndef EVOGRAD_CLIENT_CLI_FORMAT_H_
#define EVOGRAD_CLIENT_CLI_FORMAT_H_

#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace evograd {

// Four significant digits: "0.6931", "12.35", "1.2e-05".
std::string FormatNumber(double value);
// "0.812 s", "12.3 s", "3 min 20 s", "2 h 5 min"; "-" for what is negative.
std::string FormatSeconds(double seconds);
// "0:45", "1:02:03".
std::string FormatClock(double seconds);
// "12.3 MB" (powers of 1000).
std::string FormatBytes(int64_t bytes);
// "4s", "3m", "5h", "2d".
std::string FormatAge(absl::Duration age);

absl::Time ToTime(const google::protobuf::Timestamp& timestamp);

// Rows of cells, columns aligned, two spaces between them; the first row is the head. Widths count
// code points; further lines of a cell stay in its column.
std::string FormatTable(const std::vector<std::vector<std::string>>& rows);
// "name   value" lines, values aligned; pairs with an empty value are left out.
std::string FormatPairs(const std::vector<std::pair<std::string, std::string>>& pairs);

// The proto JSON form, lowerCamelCase, with defaults printed; ends with a newline. An object with
// one field, `error`, where there is no such form.
std::string ToJson(const google::protobuf::Message& message, bool on_one_line = false);
// As a job file writes it (spec/job_file.h reads it back), each line indented; unset fields are
// left out.
std::string ToYaml(const google::protobuf::Message& message, int indent);

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_FORMAT_H_
