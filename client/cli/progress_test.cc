// Goal: what is shown follows from the events, no more often than it is read, and never divides by
// nothing. Method: events by hand, a clock by hand, streams in memory.
#include "client/cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

#include "absl/strings/str_split.h"

namespace evograd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

v1::Job RotationJob() {
  v1::Job job;
  job.set_name("jobs/turn");
  job.mutable_spec()->set_steps(100);
  job.mutable_spec()->mutable_problem()->mutable_rotation();
  job.mutable_spec()->mutable_estimator()->set_kind(v1::Estimator::EVOGRAD);
  job.mutable_spec()->mutable_estimator()->set_population(2);
  job.add_hyperparameter_names("angle");
  return job;
}

// Ten steps a second.
v1::Event Step(int64_t step) {
  v1::Event event;
  event.mutable_time()->set_seconds(step / 10);
  event.mutable_time()->set_nanos(step % 10 * 100'000'000);
  v1::StepMetrics* metrics = event.mutable_steps_committed()->add_steps();
  metrics->set_step(step);
  metrics->set_train_loss(0.5);
  metrics->set_validation_loss(0.25);
  metrics->set_weights_entropy(std::log(2) / 2);
  metrics->add_hyperparameters(M_PI / 6);
  return event;
}

class ProgressTest : public ::testing::Test {
 protected:
  void Open(bool live, int columns = 120) {
    TerminalOptions options;
    options.live = live;
    options.columns = columns;
    terminal_ = std::make_unique<Terminal>(&results_, &chatter_, options);
    progress_ = std::make_unique<Progress>(terminal_.get(), RotationJob());
  }
  std::vector<std::string> Lines() {
    return absl::StrSplit(chatter_.str(), '\n', absl::SkipEmpty());
  }

  std::ostringstream results_;
  std::ostringstream chatter_;
  std::unique_ptr<Terminal> terminal_;
  std::unique_ptr<Progress> progress_;
};

TEST_F(ProgressTest, PlainLinesComeAtTenths) {
  Open(false);
  for (int step = 0; step < 100; ++step) progress_->OnEvent(Step(step), absl::UnixEpoch());
  const std::vector<std::string> lines = Lines();
  ASSERT_THAT(lines, SizeIs(11));  // the first step, and each tenth
  EXPECT_EQ(lines[0], "turn: 1/100  train 0.5  validation 0.25  entropy 50 %  angle 30.00 deg");
  EXPECT_EQ(lines[2],
            "turn: 20/100  train 0.5  validation 0.25  entropy 50 %  angle 30.00 deg  10 steps/s  "
            "ETA 0:08");
  EXPECT_THAT(results_.str(), IsEmpty());
}

TEST_F(ProgressTest, PlainLinesComeAtTimesToo) {
  Open(false);
  for (int step = 0; step < 4; ++step)
    progress_->OnEvent(Step(step), absl::FromUnixSeconds(3 * step));
  EXPECT_THAT(Lines(), SizeIs(2));  // at 0 s and at 6 s
}

TEST_F(ProgressTest, TheLiveLineIsRedrawnAndFits) {
  Open(true, 40);
  progress_->OnEvent(Step(0), absl::UnixEpoch());
  progress_->OnEvent(Step(1), absl::UnixEpoch());  // too soon
  progress_->OnEvent(Step(2), absl::FromUnixSeconds(1));
  EXPECT_THAT(chatter_.str(), HasSubstr("\r\x1b[K1/100  train 0.5"));
  EXPECT_THAT(chatter_.str(), Not(HasSubstr("2/100")));
  EXPECT_THAT(chatter_.str(), HasSubstr("\x1b[K3/100  train 0.5  validation 0.25"));
  // Not even of a part of what has no room: at 80 columns all has.
  EXPECT_THAT(chatter_.str(), Not(HasSubstr("entr")));
  for (absl::string_view line : absl::StrSplit(chatter_.str(), "\r\x1b[K"))
    EXPECT_LT(line.size(), 40);
  progress_.reset();
  EXPECT_THAT(chatter_.str(), ::testing::EndsWith("\r\x1b[K"));
}

TEST_F(ProgressTest, TheEndIsTheLastThatALiveLineGivesUp) {
  for (const int columns : {80, 60, 40, 20}) {
    progress_.reset();
    chatter_.str("");
    Open(true, columns);
    for (int step = 0; step < 20; ++step)
      progress_->OnEvent(Step(step), absl::FromUnixSeconds(step));
    EXPECT_THAT(chatter_.str(), HasSubstr("20/100  ")) << columns;
    EXPECT_THAT(chatter_.str(), ::testing::EndsWith("ETA 0:08")) << columns;
  }
}

TEST_F(ProgressTest, AJobThatWasResumedIsNotSilentSinceItsLastStep) {
  Open(false);
  v1::Job job = RotationJob();
  job.set_state(v1::RUNNING);
  job.set_reason("computing on 2 workers");
  job.mutable_last_step_time()->set_seconds(1000);
  const absl::Time served_since = absl::FromUnixSeconds(5000);
  progress_->OnSilence(job, served_since + absl::Seconds(5), served_since);
  EXPECT_THAT(Lines(), IsEmpty());
  progress_->OnSilence(job, served_since + absl::Seconds(15), served_since);
  EXPECT_THAT(Lines(), ElementsAre("turn: no step for 15s: computing on 2 workers"));
}

TEST_F(ProgressTest, WideTerminalsHaveABar) {
  Open(true, 120);
  progress_->OnEvent(Step(49), absl::UnixEpoch());
  EXPECT_THAT(chatter_.str(), HasSubstr("[==========          ] 50/100"));
}

TEST_F(ProgressTest, DecisionsAreTold) {
  Open(false);
  v1::Event event;
  event.set_sequence(1);
  event.mutable_state_changed()->set_state(v1::PENDING);
  event.mutable_state_changed()->set_reason("accepted");
  progress_->OnEvent(event, absl::UnixEpoch());  // says nothing
  event.set_sequence(2);
  event.mutable_state_changed()->set_state(v1::PENDING);
  event.mutable_state_changed()->set_reason("needs 2 workers, 1 is free");
  progress_->OnEvent(event, absl::UnixEpoch());
  progress_->OnEvent(event, absl::UnixEpoch());  // nothing new
  event.mutable_generation_started()->set_generation(2);
  event.mutable_generation_started()->set_step(7);
  event.mutable_generation_started()->add_workers("workers/a");
  event.mutable_generation_started()->add_workers("workers/b");
  progress_->OnEvent(event, absl::UnixEpoch());
  event.mutable_generation_ended()->set_generation(2);
  event.mutable_generation_ended()->set_reason("b was lost");
  progress_->OnEvent(event, absl::UnixEpoch());
  event.mutable_evaluated()->set_step(50);
  (*event.mutable_evaluated()->mutable_metrics())["accuracy_rotated"] = 0.875;
  progress_->OnEvent(event, absl::UnixEpoch());
  event.mutable_checkpoint_written()->set_step(50);
  event.mutable_checkpoint_written()->set_size_bytes(1'200'000);
  progress_->OnEvent(event, absl::UnixEpoch());
  event.mutable_restarted()->set_from_step(50);
  event.mutable_restarted()->set_reason("all workers were lost");
  progress_->OnEvent(event, absl::UnixEpoch());
  EXPECT_THAT(Lines(), ElementsAre("turn: waits: needs 2 workers, 1 is free",
                                   "turn: generation 2: a, b, from step 7",
                                   "turn: generation 2 ended: b was lost",
                                   "turn: after step 50: accuracy_rotated 87.50 %",
                                   "turn: checkpoint at step 50, 1.2 MB",
                                   "turn: started again from step 50: all workers were lost"));
}

TEST_F(ProgressTest, NoticesNameTheWorker) {
  Open(false);
  v1::Event event;
  event.mutable_notice()->set_text("set aside: cannot read /data");
  event.mutable_notice()->set_worker("workers/w2");
  progress_->OnEvent(event, absl::UnixEpoch());
  event.mutable_notice()->clear_worker();
  progress_->OnEvent(event, absl::UnixEpoch());
  EXPECT_THAT(Lines(), ElementsAre("turn: set aside: cannot read /data (w2)",
                                   "turn: set aside: cannot read /data"));
}

TEST_F(ProgressTest, GoingBackIsNoGoingOn) {
  Open(false);
  v1::Event started;
  started.mutable_generation_started()->set_generation(3);
  started.mutable_generation_started()->add_workers("workers/a");
  progress_->SetCompleted(138);
  started.mutable_generation_started()->set_step(138);
  progress_->OnEvent(started, absl::UnixEpoch());
  started.mutable_generation_started()->set_step(15);
  progress_->OnEvent(started, absl::UnixEpoch());
  v1::Event restarted;
  restarted.mutable_restarted()->set_from_step(10);
  restarted.mutable_restarted()->set_reason("all workers were lost");
  progress_->OnEvent(restarted, absl::UnixEpoch());
  started.mutable_generation_started()->set_step(10);
  progress_->OnEvent(started, absl::UnixEpoch());
  EXPECT_THAT(Lines(), ElementsAre("turn: generation 3: a, from step 138",
                                   "turn: generation 3: a, back from step 138 to 15",
                                   "turn: went back from step 15 to 10: all workers were lost",
                                   "turn: generation 3: a, from step 10"));
}

TEST_F(ProgressTest, SilenceIsExplainedOnceAndAgainAfterAWhile) {
  Open(false);
  v1::Job job = RotationJob();
  job.set_state(v1::PENDING);
  job.set_reason("needs 1 worker, and all 1 are busy");
  const auto at = [](int64_t seconds) { return absl::FromUnixSeconds(1000 + seconds); };
  progress_->OnSilence(job, at(2));
  progress_->OnSilence(job, at(6));  // the same
  job.set_reason("needs 1 worker, and none is connected");
  progress_->OnSilence(job, at(10));
  progress_->OnSilence(job, at(69));
  progress_->OnSilence(job, at(70));
  EXPECT_THAT(Lines(), ElementsAre("turn: waits: needs 1 worker, and all 1 are busy",
                                   "turn: waits: needs 1 worker, and none is connected",
                                   "turn: waits: needs 1 worker, and none is connected"));
}

TEST_F(ProgressTest, ARunningJobWithoutStepsSaysSo) {
  Open(false);
  progress_->OnEvent(Step(100), absl::FromUnixSeconds(10));  // at 10 s
  chatter_.str("");
  v1::Job job = RotationJob();
  job.set_state(v1::RUNNING);
  job.set_reason("computing on 2 workers");
  job.set_committed_steps(10);
  progress_->OnSilence(job, absl::FromUnixSeconds(15));
  EXPECT_THAT(Lines(), IsEmpty());
  progress_->OnSilence(job, absl::FromUnixSeconds(21));
  progress_->OnSilence(job, absl::FromUnixSeconds(25));
  job.set_reason("waiting for rank 1");
  job.mutable_last_step_time()->set_seconds(9);  // the coordinator's word counts
  progress_->OnSilence(job, absl::FromUnixSeconds(29));
  EXPECT_THAT(Lines(), ElementsAre("turn: no step for 11s: computing on 2 workers",
                                   "turn: no step for 20s: waiting for rank 1"));
  progress_->OnAway("a:1");
  progress_->OnAway("a:1");
  EXPECT_THAT(Lines(), SizeIs(3));
  EXPECT_THAT(Lines().back(), HasSubstr("no coordinator answers at a:1; trying again"));
}

TEST_F(ProgressTest, TheLiveLineCountsTheSilence) {
  Open(true, 60);
  v1::Job job = RotationJob();
  job.set_state(v1::RUNNING);
  job.set_reason("the checkpoint cannot be stored");
  job.mutable_last_step_time()->set_seconds(1000);
  progress_->OnSilence(job, absl::FromUnixSeconds(1015));
  progress_->OnSilence(job, absl::FromUnixSeconds(1095));
  EXPECT_THAT(chatter_.str(), HasSubstr("\x1b[K0/100  no step for 15s: the checkpoint"));
  EXPECT_THAT(chatter_.str(), HasSubstr("\x1b[K0/100  no step for 95s: the checkpoint"));
  EXPECT_THAT(chatter_.str(), Not(HasSubstr("turn: no step for 95s")));
}

}  // namespace
}  // namespace evograd
