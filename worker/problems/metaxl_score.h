// What a MetaXL model's scores are worth on a set of sentences: metrics by name.
//
//   MetaXlScore score(data, spec);
//   score.Add(example, scores, loss);                       // each example of the set
//   score.AddMetrics("target_test", &evaluation);
//
// Tagging, by spans as seqeval counts them: NAME_f1, NAME_precision, NAME_recall over all types,
// NAME_f1_reported over the job's reported_types, and NAME_f1_TYPE, in lower case, where
// `each_type` and they are few; NAME_loss per word. Classification: NAME_accuracy, NAME_macro_f1
// (the mean of all labels' F1) and NAME_loss per text. A set in which no span was found, or all
// texts got one label, is a warning: that is a model that has not learned.
//
// Threads: one.
#ifndef EVOGRAD_WORKER_PROBLEMS_METAXL_SCORE_H_
#define EVOGRAD_WORKER_PROBLEMS_METAXL_SCORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "proto/evograd/v1/metaxl.pb.h"
#include "worker/data/span_f1.h"
#include "worker/problems/metaxl_data.h"
#include "worker/problems/problem.h"

namespace evograd {

class MetaXlScore {
 public:
  // Both outlive this.
  MetaXlScore(const MetaXlData& data, const v1::MetaXl& spec);

  // `best` holds the label of the highest score: tagging, at each of the sequence's places;
  // classification, one. `loss` is the sum of the losses of the example's labels.
  void Add(const Example& example, const int64_t* best, double loss);

  void AddMetrics(const std::string& name, bool each_type, ProblemEvaluation* to) const;

 private:
  void AddTagging(const Example& example, const int64_t* best);
  void AddTaggingMetrics(const std::string& name, bool each_type, ProblemEvaluation* to) const;
  void AddClassificationMetrics(const std::string& name, ProblemEvaluation* to) const;

  const MetaXlData& data_;
  const v1::MetaXl& spec_;
  double loss_ = 0;
  int64_t labels_ = 0;  // whose losses these are
  SpanF1 spans_;
  std::vector<SpanCounts> classes_;  // classification: a text is a span of its label
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_METAXL_SCORE_H_
