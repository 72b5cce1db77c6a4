// EVOGRAD_RETURN_IF_ERROR and EVOGRAD_ASSIGN_OR_RETURN: pass an error on to the caller.
//
//   EVOGRAD_RETURN_IF_ERROR(file.Write(bytes));
//   EVOGRAD_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//
// EVOGRAD_CHECK(condition, "why it must hold"): a programmer's error ends the process; always on.
#ifndef EVOGRAD_COMMON_STATUS_MACROS_H_
#define EVOGRAD_COMMON_STATUS_MACROS_H_

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define EVOGRAD_RETURN_IF_ERROR(expression)           \
  do {                                                \
    absl::Status evograd_status_macro = (expression); \
    if (!evograd_status_macro.ok()) {                 \
      return evograd_status_macro;                    \
    }                                                 \
  } while (false)

#define EVOGRAD_STATUS_CONCAT_INNER_(a, b) a##b
#define EVOGRAD_STATUS_CONCAT_(a, b) EVOGRAD_STATUS_CONCAT_INNER_(a, b)
#define EVOGRAD_ASSIGN_OR_RETURN(declaration, expression) \
  EVOGRAD_ASSIGN_OR_RETURN_(EVOGRAD_STATUS_CONCAT_(evograd_or_, __LINE__), declaration, expression)
#define EVOGRAD_ASSIGN_OR_RETURN_(holder, declaration, expression) \
  auto holder = (expression);                                      \
  if (!holder.ok()) {                                              \
    return holder.status();                                        \
  }                                                                \
  declaration = *std::move(holder)

#define EVOGRAD_CHECK(condition, why)                                                             \
  do {                                                                                            \
    if (!(condition)) {                                                                           \
      std::fprintf(stderr, "%s:%d: %s does not hold: %s\n", __FILE__, __LINE__, #condition, why); \
      std::abort();                                                                               \
    }                                                                                             \
  } while (false)

#endif  // EVOGRAD_COMMON_STATUS_MACROS_H_
