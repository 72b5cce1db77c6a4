// A file that appears only when it is whole: written beside its place, synced, renamed. What is no
// regular file (a device, a pipe, the standard output) is written to as it is, never replaced.
//
//   EVOGRAD_ASSIGN_OR_RETURN(auto file, OutputFile::Open(PathIn(out, "model.safetensors")));
//   EVOGRAD_RETURN_IF_ERROR(file->Write(bytes));
//   EVOGRAD_RETURN_IF_ERROR(file->Finish());
//
// Threads: one, but for RemoveUnfinished.
#ifndef EVOGRAD_CLIENT_LIB_OUTPUT_FILE_H_
#define EVOGRAD_CLIENT_LIB_OUTPUT_FILE_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace evograd {

// `out` where it names a file, and the file `name` in it where it names a folder: one that is
// there, or by a slash at its end.
std::string PathIn(const std::string& out, const std::string& name);

class OutputFile {
 public:
  // "-" is the standard output. The target of a link is what is replaced. FAILED_PRECONDITION:
  // there cannot be such a file, or it may not be written.
  static absl::StatusOr<std::unique_ptr<OutputFile>> Open(const std::string& path);
  // Removes what was written unless it was finished.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  // RESOURCE_EXHAUSTED: the disk is full.
  absl::Status Write(absl::string_view bytes);
  absl::Status Finish();
  // Where another program can write it; empty: Write is the only way.
  const std::string& part_path() const { return part_; }

  // Where the process is to end at once: takes away what all of them have written and not finished.
  // From any thread; no more can be begun or finished after it.
  static void RemoveUnfinished();

  const std::string& path() const { return path_; }
  // Whether it is this process's own, which takes no other results then.
  bool is_standard_output() const { return standard_output_; }

 private:
  explicit OutputFile(std::string path) : path_(std::move(path)) {}
  // Where the file that `path_` means is to be put; empty: it is opened as it is.
  absl::StatusOr<std::string> FindPlace(unsigned* mode);
  absl::Status Begin();
  // Takes away what was written.
  void Remove();
  // For a failed system call, by errno.
  absl::Status Failure(const std::string& what) const;

  const std::string path_;
  // Of a regular file, with links followed.
  std::string place_;
  std::string part_;
  int file_ = -1;
  bool standard_output_ = false;
};

}  // namespace evograd

#endif  // EVOGRAD_CLIENT_LIB_OUTPUT_FILE_H_
