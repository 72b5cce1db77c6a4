// Precision, recall and F1 of tagged spans, as conlleval and the Python package seqeval (its
// default mode) count them: a predicted span is right when a true one has the same words and type.
//
//   SpanF1 score(tags.types().size());
//   score.Add(actual, predicted);                // one sentence: a Tag per word
//   score.overall().f1()
//
// Threads: one at a time.
#ifndef EVOGRAD_WORKER_DATA_SPAN_F1_H_
#define EVOGRAD_WORKER_DATA_SPAN_F1_H_

#include <cstdint>
#include <vector>

#include "worker/data/bio.h"

namespace evograd {

struct Span {
  int first = 0;
  int last = 0;  // included
  int type = 0;
};

// The spans of a sentence, in order. A span begins at B- and at an I- that continues none of its
// type.
std::vector<Span> SpansOf(const std::vector<Tag>& tags);

struct SpanCounts {
  int64_t correct = 0;
  int64_t predicted = 0;
  int64_t actual = 0;

  // Shares; 0 where there is nothing to divide by.
  double precision() const;
  double recall() const;
  double f1() const;
};

class SpanF1 {
 public:
  explicit SpanF1(int types) : by_type_(types) {}

  // Tags of the same sentence: both as long.
  void Add(const std::vector<Tag>& actual, const std::vector<Tag>& predicted);

  // Over all types together ("micro").
  SpanCounts overall() const;
  const SpanCounts& of_type(int type) const { return by_type_[type]; }

 private:
  std::vector<SpanCounts> by_type_;
};

}  // namespace evograd

#endif  // EVOGRAD_WORKER_DATA_SPAN_F1_H_
