#include "worker/problems/metaxl_score.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace evograd {
namespace {

// An evaluation has room for 64 metrics (limits::kMaxEvaluationMetrics).
constexpr size_t kMostShownTypes = 24;

// A type's name as part of a metric's.
std::string MetricName(const std::string& type) {
  std::string name = absl::AsciiStrToLower(type);
  std::replace_if(
      name.begin(), name.end(), [](unsigned char c) { return !absl::ascii_isalnum(c); }, '_');
  return name;
}

}  // namespace

MetaXlScore::MetaXlScore(const MetaXlData& data, const v1::MetaXl& spec)
    : data_(data),
      spec_(spec),
      spans_(data.tags.has_value() ? static_cast<int>(data.tags->types().size()) : 0),
      classes_(data.tags.has_value() ? 0 : data.labels.size()) {}

void MetaXlScore::Add(const Example& example, const int64_t* best, double loss) {
  loss_ += loss;
  if (data_.tags.has_value()) {
    labels_ += static_cast<int64_t>(example.places.size());
    return AddTagging(example, best);
  }
  ++labels_;
  ++classes_[example.labels[0]].actual;
  ++classes_[*best].predicted;
  if (*best == example.labels[0]) ++classes_[*best].correct;
}

void MetaXlScore::AddTagging(const Example& example, const int64_t* best) {
  std::vector<Tag> actual;
  std::vector<Tag> predicted;
  for (size_t word = 0; word < example.labels.size(); ++word) {
    actual.push_back(data_.tags->tag(example.labels[word]));
    // A word that the sequence has no place for counts as outside all spans.
    predicted.push_back(word < example.places.size()
                            ? data_.tags->tag(static_cast<int>(best[example.places[word]]))
                            : Tag());
  }
  spans_.Add(actual, predicted);
}

void MetaXlScore::AddMetrics(const std::string& name, bool each_type, ProblemEvaluation* to) const {
  to->metrics[name + "_loss"] = labels_ > 0 ? loss_ / static_cast<double>(labels_) : 0;
  if (data_.tags.has_value()) {
    AddTaggingMetrics(name, each_type, to);
  } else {
    AddClassificationMetrics(name, to);
  }
}

void MetaXlScore::AddTaggingMetrics(const std::string& name, bool each_type,
                                    ProblemEvaluation* to) const {
  const SpanCounts all = spans_.overall();
  to->metrics[name + "_f1"] = all.f1();
  to->metrics[name + "_precision"] = all.precision();
  to->metrics[name + "_recall"] = all.recall();
  const std::vector<std::string>& types = data_.tags->types();
  SpanCounts reported;
  for (size_t type = 0; type < types.size(); ++type) {
    const SpanCounts& counts = spans_.of_type(static_cast<int>(type));
    const auto& chosen = spec_.reported_types();
    if (std::find(chosen.begin(), chosen.end(), types[type]) != chosen.end()) {
      reported.correct += counts.correct;
      reported.predicted += counts.predicted;
      reported.actual += counts.actual;
    }
    // What does not occur has no F1.
    if (each_type && types.size() <= kMostShownTypes && counts.actual > 0) {
      to->metrics[absl::StrCat(name, "_f1_", MetricName(types[type]))] = counts.f1();
    }
  }
  if (!spec_.reported_types().empty()) to->metrics[name + "_f1_reported"] = reported.f1();
  if (all.actual > 0 && all.predicted == 0) {
    to->warnings.push_back(absl::StrCat(
        name, ": not one span was found where there are ", all.actual,
        "; the model has learned to tag all words O so far: train longer or raise the learning "
        "rate"));
  }
}

void MetaXlScore::AddClassificationMetrics(const std::string& name, ProblemEvaluation* to) const {
  int64_t correct = 0;
  int64_t largest = 0;
  double f1 = 0;
  int occurring = 0;
  for (const SpanCounts& counts : classes_) {
    correct += counts.correct;
    largest = std::max(largest, counts.predicted);
    // As scikit-learn's: labels that neither occur nor are given do not count.
    if (counts.actual + counts.predicted == 0) continue;
    f1 += counts.f1();
    ++occurring;
  }
  to->metrics[name + "_accuracy"] =
      labels_ > 0 ? static_cast<double>(correct) / static_cast<double>(labels_) : 0;
  to->metrics[name + "_macro_f1"] = occurring > 0 ? f1 / occurring : 0;
  if (labels_ > 1 && largest == labels_ && occurring > 1) {
    to->warnings.push_back(absl::StrCat(
        name, ": all ", labels_,
        " texts get the same label; the model has not learned so far: train longer or change the "
        "learning rate"));
  }
}

}  // namespace evograd
