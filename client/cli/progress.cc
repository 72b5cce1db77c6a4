#include "client/cli/progress.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "client/cli/format.h"
#include "client/cli/report.h"

namespace evograd {
namespace {

// As fast as an eye follows.
constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr absl::Duration kPlainInterval = absl::Seconds(5);
// What stands still is said again so often.
constexpr absl::Duration kStillInterval = absl::Minutes(1);
// Long enough to smooth, short enough to follow a change of the group.
constexpr absl::Duration kPaceWindow = absl::Seconds(30);
constexpr int64_t kPaceMinSteps = 5;
constexpr int kBarWidth = 20;
// Of the part of a line that is not the bar.
constexpr int kRoomForBar = 110;
// In which order figures go from a live line that is too long: the last of these first.
constexpr int kEtaRank = 1;
constexpr int kLossRank = 2;
constexpr int kPaceRank = 3;
constexpr int kHyperparametersRank = 4;
constexpr int kEntropyRank = 5;

// What is said once as long as it is the same.
std::string Cause(v1::JobState state, const std::string& reason) {
  return absl::StrCat(v1::JobState_Name(state), ": ", reason);
}

}  // namespace

Progress::Progress(Terminal* terminal, const v1::Job& job) : terminal_(terminal), job_(job) {}

Progress::~Progress() { terminal_->ClearLiveLine(); }

void Progress::OnEvent(const v1::Event& event, absl::Time now) {
  said_.clear();
  away_ = false;
  if (event.has_steps_committed())
    return OnSteps(event.steps_committed(), ToTime(event.time()), now);
  const std::string line = Describe(event);
  if (!line.empty() && line != last_reason_) {
    terminal_->Say(absl::StrCat(ShortName(job_.name()), ": ", line));
  }
  if (event.has_state_changed()) {
    last_reason_ = line;
    if (!line.empty()) said_ = Cause(event.state_changed().state(), event.state_changed().reason());
    said_time_ = now;
  }
  if (event.has_restarted()) completed_ = event.restarted().from_step();
  if (event.has_generation_started()) {
    completed_ = event.generation_started().step();
    // What was fast before says nothing about the new group.
    history_.clear();
  }
}

void Progress::OnSilence(const v1::Job& job, absl::Time now, absl::Time served_since) {
  away_ = false;
  const KnownTimes known = {last_step_time_, served_since};
  const bool still = StandsStill(job, now, known);
  if (!still && job.state() != v1::PENDING) return;
  const std::string line =
      still ? PresentReason(job, now, known) : absl::StrCat("waits: ", job.reason());
  if (terminal_->live()) {
    terminal_->SetLiveLine(
        {{absl::StrCat(job.committed_steps(), "/", job_.spec().steps()), 0}, {line, 0}});
  }
  const std::string cause = Cause(job.state(), job.reason());
  if (said_ == cause && (terminal_->live() || now - said_time_ < kStillInterval)) return;
  said_ = cause;
  said_time_ = now;
  terminal_->Say(absl::StrCat(ShortName(job_.name()), ": ", line));
}

void Progress::OnAway(const std::string& address) {
  if (away_) return;
  away_ = true;
  terminal_->Say(absl::StrCat(ShortName(job_.name()), ": no coordinator answers at ", address,
                              "; trying again"));
}

void Progress::OnSteps(const v1::StepsCommitted& steps, absl::Time committed, absl::Time now) {
  if (steps.steps_size() == 0) return;
  const v1::StepMetrics& last = *steps.steps().rbegin();
  completed_ = last.step() + 1;
  last_step_time_ = committed;
  history_.emplace_back(committed, completed_);
  while (history_.front().first < committed - kPaceWindow) history_.pop_front();
  const bool end = completed_ >= job_.spec().steps();
  if (terminal_->live()) {
    if (!end && now - last_shown_ < kRedraw) return;
    std::vector<LiveField> fields = Figures(last);
    fields[0].text = Bar() + fields[0].text;
    terminal_->SetLiveLine(std::move(fields));
  } else {
    const int64_t tenth = 10 * completed_ / std::max<int64_t>(1, job_.spec().steps());
    if (tenth == last_tenth_ && now - last_shown_ < kPlainInterval) return;
    last_tenth_ = tenth;
    terminal_->Say(absl::StrCat(
        ShortName(job_.name()), ": ",
        absl::StrJoin(Figures(last), "  ", [](std::string* out, const LiveField& field) {
          absl::StrAppend(out, field.text);
        })));
  }
  last_shown_ = now;
}

std::string Progress::Describe(const v1::Event& event) const {
  switch (event.kind_case()) {
    case v1::Event::kStateChanged: {
      const auto& change = event.state_changed();
      // The first says only that there is a job.
      if (change.state() == v1::PENDING && event.sequence() != 1)
        return absl::StrCat("waits: ", change.reason());
      return "";  // what is running shows steps; an end has a report
    }
    case v1::Event::kGenerationStarted: {
      const auto& started = event.generation_started();
      const std::string workers =
          absl::StrJoin(started.workers(), ", ",
                        [](std::string* out, const std::string& name) { *out += ShortName(name); });
      const std::string where =
          started.step() < completed_
              ? absl::StrCat(", back from step ", completed_, " to ", started.step())
          : started.step() > 0 ? absl::StrCat(", from step ", started.step())
                               : "";
      return absl::StrCat("generation ", started.generation(), ": ", workers, where);
    }
    case v1::Event::kGenerationEnded:
      if (completed_ >= job_.spec().steps()) return "";  // as it should at the end
      return absl::StrCat("generation ", event.generation_ended().generation(),
                          " ended: ", event.generation_ended().reason());
    case v1::Event::kEvaluated:
      return absl::StrCat("after step ", event.evaluated().step(), ": ",
                          FormatEvaluation(event.evaluated()));
    case v1::Event::kCheckpointWritten:
      return absl::StrCat("checkpoint at step ", event.checkpoint_written().step(), ", ",
                          FormatBytes(event.checkpoint_written().size_bytes()));
    case v1::Event::kRestarted:
      return absl::StrCat(event.restarted().from_step() < completed_
                              ? absl::StrCat("went back from step ", completed_, " to ")
                              : "started again from step ",
                          event.restarted().from_step(), ": ", event.restarted().reason());
    case v1::Event::kNotice:
      return absl::StrCat(event.notice().text(),
                          event.notice().worker().empty()
                              ? ""
                              : absl::StrCat(" (", ShortName(event.notice().worker()), ")"));
    default:
      return "";
  }
}

std::vector<LiveField> Progress::Figures(const v1::StepMetrics& step) const {
  std::vector<LiveField> fields = {{absl::StrCat(completed_, "/", job_.spec().steps()), 0}};
  for (const std::string& loss : FormatLosses(job_, step)) fields.push_back({loss, kLossRank});
  const std::string entropy = FormatEntropy(job_, step);
  if (!entropy.empty()) fields.push_back({absl::StrCat("entropy ", entropy), kEntropyRank});
  const std::string hyperparameters = FormatHyperparameters(job_, step);
  if (!hyperparameters.empty()) fields.push_back({hyperparameters, kHyperparametersRank});
  const std::vector<std::string> pace = Pace();
  if (!pace.empty()) {
    fields.push_back({pace[0], kPaceRank});
    fields.push_back({pace[1], kEtaRank});
  }
  return fields;
}

std::vector<std::string> Progress::Pace() const {
  if (history_.empty()) return {};
  const int64_t steps = history_.back().second - history_.front().second;
  const double seconds = absl::ToDoubleSeconds(history_.back().first - history_.front().first);
  if (steps < kPaceMinSteps || seconds <= 0) return {};
  const double pace = steps / seconds;
  return {absl::StrFormat("%.3g steps/s", pace),
          absl::StrCat("ETA ", FormatClock((job_.spec().steps() - completed_) / pace))};
}

std::string Progress::Bar() const {
  if (terminal_->columns() <= kRoomForBar) return "";
  const int64_t steps = std::max<int64_t>(1, job_.spec().steps());
  const int filled = static_cast<int>(kBarWidth * completed_ / steps);
  return absl::StrCat("[", std::string(filled, '='), std::string(kBarWidth - filled, ' '), "] ");
}

}  // namespace evograd
