// The command line's words, sorted by tables of flags.
//
//   EVOGRAD_ASSIGN_OR_RETURN(Arguments arguments, Arguments::Parse(words, flags));
//   EVOGRAD_ASSIGN_OR_RETURN(int64_t workers, arguments.GetInt("workers", 2, 1, 64));
//
// Flags are `--name value`, `--name=value`, switches `--name`; - and _ in names are the same. `--`
// ends the flags. Every flag has its effect or is refused: one that the table has not, one that is
// given twice, an empty value; and so are words that are not UTF-8. Pure functions of their
// arguments. Errors: INVALID_ARGUMENT, a sentence that names the word.
#ifndef EVOGRAD_CLIENT_CLI_ARGUMENTS_H_
#define EVOGRAD_CLIENT_CLI_ARGUMENTS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace evograd {

struct Flag {
  // Without dashes, words parted by -; one letter means a single dash.
  std::string name;
  // What its value is called in help; empty: a switch.
  std::string value;
  std::string help;
};

class Arguments {
 public:
  // `stop_at_operand`: the first word that is no flag and all after it are operands, whatever they
  // look like.
  static absl::StatusOr<Arguments> Parse(const std::vector<std::string>& words,
                                         const std::vector<Flag>& flags,
                                         bool stop_at_operand = false);

  const std::vector<std::string>& operands() const { return operands_; }
  bool Has(const std::string& flag) const { return values_.count(flag) > 0; }
  std::string Get(const std::string& flag, const std::string& fallback) const;
  absl::StatusOr<int64_t> GetInt(const std::string& flag, int64_t fallback, int64_t low,
                                 int64_t high) const;
  // "90s", "5m", "1h30m", or a plain number of seconds; more than 0.
  absl::StatusOr<absl::Duration> GetDuration(const std::string& flag,
                                             absl::Duration fallback) const;
  absl::StatusOr<std::string> GetChoice(const std::string& flag, const std::string& fallback,
                                        const std::vector<std::string>& choices) const;

  // Adds the flags that `other` holds. INVALID_ARGUMENT: one is none of `flags`, or here already.
  absl::Status Merge(const Arguments& other, const std::vector<Flag>& flags);

 private:
  std::vector<std::string> operands_;
  std::map<std::string, std::string> values_;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_CLI_ARGUMENTS_H_
