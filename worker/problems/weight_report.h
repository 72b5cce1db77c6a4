// What an evaluation says about example weights and learnt labels, and when it raises the alarm.
// Pure functions; worker/problems/meta_weight_net.h explains the metrics.
#ifndef EVOGRAD_WORKER_PROBLEMS_WEIGHT_REPORT_H_
#define EVOGRAD_WORKER_PROBLEMS_WEIGHT_REPORT_H_

#include <vector>

#include "worker/problems/problem.h"

namespace evograd {

struct WeighedExample {
  double loss = 0;
  double weight = 0;      // in [0, 1]
  bool noisy = false;     // its label is wrong
  bool answered = false;  // the network answers its label
};

// noisy_share and, where there are wrong labels, wrong_labels_learnt.
void ReportLabels(const std::vector<WeighedExample>& examples, ProblemEvaluation* evaluation);

// weight_clean, weight_noisy (each where there are such), weight_deviation, effective_examples, and
// a warning for weights that
// - are all below 1e-4: no example counts, and under normalisation MEAN nothing is learned;
// - differ by less than a thousandth of their mean although the losses that they come from differ
//   by more than a hundredth of theirs: the weighting does nothing;
// - leave fewer than two effective examples out of at least ten.
void ReportWeights(const std::vector<WeighedExample>& examples, ProblemEvaluation* evaluation);

}  // namespace evograd

#endif  // EVOGRAD_WORKER_PROBLEMS_WEIGHT_REPORT_H_
