#include "worker/data/span_f1.h"

#include <algorithm>

#include "common/status_macros.h"

namespace evograd {
namespace {

double Ratio(double numerator, double denominator) {
  return denominator > 0 ? numerator / denominator : 0;
}

}  // namespace

std::vector<Span> SpansOf(const std::vector<Tag>& tags) {
  std::vector<Span> spans;
  int open = -1;  // the type of the span that the last word belongs to
  for (size_t i = 0; i < tags.size(); ++i) {
    const Tag& tag = tags[i];
    const int word = static_cast<int>(i);
    if (tag.kind == Tag::Kind::kInside && tag.type == open) {
      spans.back().last = word;
    } else if (tag.kind != Tag::Kind::kOutside) {
      spans.push_back({word, word, tag.type});
    }
    open = tag.kind == Tag::Kind::kOutside ? -1 : tag.type;
  }
  return spans;
}

double SpanCounts::precision() const { return Ratio(correct, predicted); }
double SpanCounts::recall() const { return Ratio(correct, actual); }
double SpanCounts::f1() const { return Ratio(2.0 * correct, predicted + actual); }

void SpanF1::Add(const std::vector<Tag>& actual, const std::vector<Tag>& predicted) {
  EVOGRAD_CHECK(actual.size() == predicted.size(), "tags of the same sentence");
  const std::vector<Span> expected = SpansOf(actual);
  const std::vector<Span> found = SpansOf(predicted);
  for (const Span& span : expected) ++by_type_[span.type].actual;
  auto next = expected.begin();
  for (const Span& span : found) {
    ++by_type_[span.type].predicted;
    // Both are in order and no two spans of one side begin at the same word.
    while (next != expected.end() && next->first < span.first) ++next;
    if (next != expected.end() && next->first == span.first && next->last == span.last &&
        next->type == span.type) {
      ++by_type_[span.type].correct;
    }
  }
}

SpanCounts SpanF1::overall() const {
  SpanCounts sum;
  for (const SpanCounts& counts : by_type_) {
    sum.correct += counts.correct;
    sum.predicted += counts.predicted;
    sum.actual += counts.actual;
  }
  return sum;
}

}  // namespace evograd
