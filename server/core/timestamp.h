// Milliseconds since 1970 as a protobuf Timestamp.
#ifndef EVOGRAD_SERVER_CORE_TIMESTAMP_H_
#define EVOGRAD_SERVER_CORE_TIMESTAMP_H_

#include <cstdint>

#include "google/protobuf/timestamp.pb.h"

namespace evograd {

inline google::protobuf::Timestamp Timestamp(int64_t unix_ms) {
  google::protobuf::Timestamp time;
  time.set_seconds(unix_ms / 1000);
  time.set_nanos(static_cast<int32_t>(unix_ms % 1000) * 1'000'000);
  return time;
}

}  // namespace evograd

#endif  // EVOGRAD_SERVER_CORE_TIMESTAMP_H_
