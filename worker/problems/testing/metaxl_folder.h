// A small encoder and sentences in two source languages and a target language, as files, for tests.
//
//   const MetaXlFolder folder("name");         // in the test's temporary folder
//   v1::JobSpec spec = folder.Spec();          // a resolved job on it
#ifndef EVOGRAD_WORKER_PROBLEMS_TESTING_METAXL_FOLDER_H_
#define EVOGRAD_WORKER_PROBLEMS_TESTING_METAXL_FOLDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/evograd/v1/job.pb.h"

namespace evograd {

class MetaXlFolder {
 public:
  static constexpr int kSourceSentences = 16;  // of each of en and de
  static constexpr int kTargetSentences = 10;  // of qu; its dev and test files have half as many
  static constexpr int kHidden = 8;
  static constexpr int kLayers = 2;

  // `dropout` is the encoder's.
  explicit MetaXlFolder(const std::string& name, double dropout = 0);

  // A job over the folder with a random encoder; `fields` is text of a MetaXl message, `others` of
  // a JobSpec.
  v1::JobSpec Spec(const std::string& fields = "", const std::string& others = "") const;

  const std::string& path() const { return path_; }
  void Write(const std::string& name, const std::string& text) const;
  std::string Read(const std::string& name) const;

  // The encoder's config.json with `vocab_size` and `layers`.
  static std::string Config(double dropout, int vocabulary, int layers = kLayers);
  static int Vocabulary();

 private:
  std::string path_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_TESTING_METAXL_FOLDER_H_
