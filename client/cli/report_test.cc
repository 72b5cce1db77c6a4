// Goal: reports say what the API says, in people's units. Method: jobs by hand.
#include "client/cli/report.h"

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

namespace evograd {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::Job Parse(const std::string& text) {
  v1::Job job;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &job));
  return job;
}

v1::Job Rotation() {
  return Parse(R"(
    name: 'jobs/turn' state: SUCCEEDED reason: 'all steps are done'
    committed_steps: 500 seconds_per_step: 0.125
    create_time { seconds: 1000 } start_time { seconds: 1001 }
    end_time { seconds: 1063 nanos: 500000000 }
    spec { problem { rotation {} } steps: 500 max_restarts: 10
           estimator { kind: EVOGRAD_SHARED population: 4 sigma: 0.001 tau: 0.05 } }
    last_step { step: 499 train_loss: 0.5 validation_loss: 0.25 weights_entropy: 1.3862943611198906
                hyperparameters: 0.5235987755982988 }
    hyperparameter_names: 'angle'
    last_evaluation { step: 500 metrics { key: 'accuracy_rotated' value: 0.87125 }
                      metrics { key: 'angle_degrees' value: 28.934 }
                      metrics { key: 'true_angle_degrees' value: 30 } }
    parameters_sha256: '0123456789abcdef0123')");
}

TEST(JobReportTest, SaysWhatTheJobCameTo) {
  EXPECT_EQ(JobReport(Rotation(), "SUCCEEDED"),
            "job                 jobs/turn\n"
            "state               SUCCEEDED: all steps are done\n"
            "estimator           evograd-shared, K = 4, sigma 0.001, tau 0.05\n"
            "meta-steps          500 of 500\n"
            "time                62.5 s\n"
            "time per meta-step  0.125 s (median)\n"
            "train loss          0.5\n"
            "validation loss     0.25\n"
            "weights' entropy    100 % of log K\n"
            "hyperparameters     angle 30.00 deg\n"
            "evaluation          after step 500\n"
            "  accuracy_rotated  87.12 %\n"
            "  angle_degrees     28.93 (true angle 30)\n"
            "parameters          sha256 0123456789abcdef…\n");
}

TEST(JobReportTest, FailuresNameTheWorker) {
  const v1::Job job = Parse(R"(name: 'jobs/x' state: FAILED recoveries: 2 restarts: 1
                               error { message: 'loss is NaN at step 3' worker: 'workers/w1' }
                               spec { steps: 9 max_restarts: 10 })");
  const std::string report = JobReport(job, "FAILED");
  EXPECT_THAT(report, HasSubstr("loss is NaN at step 3 (on w1)"));
  EXPECT_THAT(report, HasSubstr("went on after losing a worker 2 times, started again from a "
                                "checkpoint once\n"));
  EXPECT_THAT(report, Not(HasSubstr("train loss")));
}

TEST(FormatLossesTest, PlainTrainingHasNoValidation) {
  v1::Job job = Rotation();
  EXPECT_THAT(FormatLosses(job, job.last_step()), ElementsAre("train 0.5", "validation 0.25"));
  job.mutable_spec()->mutable_estimator()->set_kind(v1::Estimator::NONE);
  EXPECT_THAT(FormatLosses(job, job.last_step()), ElementsAre("train 0.5"));
  EXPECT_THAT(JobReport(job, "SUCCEEDED"), Not(HasSubstr("validation")));
}

TEST(FormatEntropyTest, OnlyWhereThereAreWeights) {
  v1::Job job = Rotation();
  EXPECT_EQ(FormatEntropy(job, job.last_step()), "100 %");
  job.mutable_spec()->mutable_estimator()->set_kind(v1::Estimator::NONE);
  EXPECT_EQ(FormatEntropy(job, job.last_step()), "");
  job.mutable_spec()->mutable_estimator()->set_kind(v1::Estimator::EVOGRAD);
  job.mutable_spec()->mutable_estimator()->set_population(1);
  EXPECT_EQ(FormatEntropy(job, job.last_step()), "");
}

TEST(ComparisonTableTest, HasARowPerJobAndAColumnPerMetric) {
  v1::Job baseline = Rotation();
  baseline.set_name("jobs/baseline");
  baseline.mutable_spec()->mutable_estimator()->set_kind(v1::Estimator::NONE);
  baseline.mutable_last_evaluation()->mutable_metrics()->erase("angle_degrees");
  (*baseline.mutable_last_evaluation()->mutable_metrics())["accuracy_rotated"] = 0.55;
  const std::string table = ComparisonTable({baseline, Rotation()});
  EXPECT_EQ(table,
            "JOB       ESTIMATOR       STATE      STEPS  TIME    PER STEP  ACCURACY_ROTATED  "
            "ANGLE_DEGREES          "
            "TRUE_ANGLE_DEGREES\n"
            "baseline  none            SUCCEEDED  500    62.5 s  0.125 s   55.00 %           -     "
            "                 "
            "30\n"
            "turn      evograd-shared  SUCCEEDED  500    62.5 s  0.125 s   87.12 %           28.93 "
            "(true angle 30)  "
            "-\n");
}

TEST(JobDescriptionTest, HasStateProgressAndSpec) {
  v1::Job job = Rotation();
  job.set_state(v1::RUNNING);
  job.clear_end_time();
  job.set_committed_steps(100);
  job.set_generation(3);
  job.add_workers("workers/a");
  v1::Checkpoint checkpoint;
  checkpoint.set_step(80);
  const std::string text = JobDescription(job, {checkpoint}, {"from step 138 to 15"}, "RUNNING",
                                          absl::FromUnixSeconds(1100));
  EXPECT_THAT(text, HasSubstr("100s ago"));
  EXPECT_THAT(text, HasSubstr("100 of 500 meta-steps, 0.125 s each, ETA 0:50"));
  EXPECT_THAT(text, HasSubstr("a (generation 3)"));
  EXPECT_THAT(text, HasSubstr("1, the last at step 80"));
  EXPECT_THAT(text, HasSubstr("went back           from step 138 to 15\n"));
  EXPECT_THAT(text, HasSubstr("  estimator:\n    kind: evograd-shared\n    population: 4\n"));
}

TEST(PresentReasonTest, NamesHowLongNothingMoved) {
  v1::Job job = Parse(R"(state: RUNNING reason: 'waiting for rank 1' committed_steps: 7
                         last_step_time { seconds: 1000 } start_time { seconds: 900 })");
  const auto at = [&](int64_t seconds) {
    return PresentReason(job, absl::FromUnixSeconds(seconds));
  };
  EXPECT_EQ(at(1009), "waiting for rank 1");
  EXPECT_EQ(at(1095), "no step for 95s: waiting for rank 1");
  EXPECT_EQ(at(990), "waiting for rank 1");  // the other machine's clock is ahead
  EXPECT_THAT(JobDescription(job, {}, {}, "RUNNING", absl::FromUnixSeconds(1095)),
              HasSubstr("RUNNING: no step for 95s: waiting for rank 1\n"));
  EXPECT_THAT(JobsTable({job}, absl::FromUnixSeconds(1095)),
              HasSubstr("no step for 95s: waiting for rank 1\n"));
  // Slow steps are no standing still.
  job.set_seconds_per_step(40);
  EXPECT_EQ(at(1095), "waiting for rank 1");
  EXPECT_EQ(at(1125), "no step for 2m: waiting for rank 1");
  job.clear_seconds_per_step();
  // A coordinator that does not say when: from what was seen, or before the first step the start.
  job.clear_last_step_time();
  EXPECT_EQ(at(1095), "waiting for rank 1");
  EXPECT_EQ(PresentReason(job, absl::FromUnixSeconds(1095), {absl::FromUnixSeconds(1080)}),
            "no step for 15s: waiting for rank 1");
  job.set_committed_steps(0);
  EXPECT_EQ(at(950), "no step for 50s: waiting for rank 1");
  job.mutable_spec()->set_steps(7);
  job.set_committed_steps(7);
  job.mutable_last_step_time()->set_seconds(1000);
  EXPECT_EQ(at(1095), "the last step was 95s ago: waiting for rank 1");
  job.set_state(v1::SUCCEEDED);
  EXPECT_EQ(at(1095), "waiting for rank 1");
}

TEST(PresentReasonTest, CountsNothingBeforeTheCoordinatorServed) {
  v1::Job job = Parse(R"(state: RUNNING reason: 'waiting for rank 1' committed_steps: 7
                         last_step_time { seconds: 1000 } create_time { seconds: 800 })");
  const absl::Time now = absl::FromUnixSeconds(5000);
  KnownTimes known;
  known.served_since = absl::FromUnixSeconds(4995);
  EXPECT_EQ(PresentReason(job, now, known), "waiting for rank 1");
  known.served_since = absl::FromUnixSeconds(4980);
  EXPECT_EQ(PresentReason(job, now, known), "no step for 20s: waiting for rank 1");
  // It served before the last step: that counts.
  known.served_since = absl::FromUnixSeconds(900);
  EXPECT_EQ(PresentReason(job, now, known), "no step for 66m: waiting for rank 1");
  job.set_state(v1::PENDING);
  known.served_since = absl::FromUnixSeconds(4980);
  EXPECT_EQ(PresentReason(job, now, known), "waits for 20s: waiting for rank 1");
  EXPECT_THAT(JobsTable({job}, now, known), HasSubstr("waits for 20s: waiting for rank 1\n"));
  EXPECT_THAT(JobDescription(job, {}, {}, "PENDING", now, known),
              HasSubstr("PENDING: waits for 20s: waiting for rank 1\n"));
}

TEST(PresentReasonTest, SaysHowLongAJobHasWaited) {
  const v1::Job job = Parse(R"(state: PENDING reason: 'needs 2 workers, and 1 is free'
                               create_time { seconds: 1000 })");
  EXPECT_EQ(PresentReason(job, absl::FromUnixSeconds(1005)), "needs 2 workers, and 1 is free");
  EXPECT_THAT(JobsTable({job}, absl::FromUnixSeconds(1095)),
              HasSubstr("waits for 95s: needs 2 workers, and 1 is free\n"));
  // The first worker came late.
  KnownTimes known;
  known.served_since = absl::FromUnixSeconds(1090);
  EXPECT_EQ(PresentReason(job, absl::FromUnixSeconds(1095), known),
            "waits for 95s: needs 2 workers, and 1 is free");
}

TEST(TimeTest, OfAResumedJobIsThatSinceThen) {
  const auto at = [](int64_t seconds) { return absl::FromUnixSeconds(seconds); };
  EXPECT_THAT(JobReport(Rotation(), "SUCCEEDED", at(1060)),
              HasSubstr("\ntime                3.5 s since it was resumed\n"));
  EXPECT_THAT(ComparisonTable({Rotation()}, at(1060)), HasSubstr("  > 3.5 s  "));
  // One that began, or had ended, before it served.
  for (const absl::Time served_since : {at(1000), at(2000)}) {
    EXPECT_THAT(JobReport(Rotation(), "SUCCEEDED", served_since),
                HasSubstr("\ntime                62.5 s\n"));
    EXPECT_THAT(ComparisonTable({Rotation()}, served_since), HasSubstr("  62.5 s  "));
  }
}

TEST(WorkersTest, AJobThatHasEndedHasNone) {
  v1::Job job = Rotation();
  job.add_workers("workers/a");
  const absl::Time now = absl::FromUnixSeconds(1100);
  EXPECT_THAT(JobsTable({job}, now), HasSubstr("0.25        -        100s"));
  EXPECT_THAT(JobDescription(job, {}, {}, "SUCCEEDED", now), Not(HasSubstr("\nworkers ")));
  job.set_state(v1::RUNNING);
  EXPECT_THAT(JobsTable({job}, now), HasSubstr("0.25        1        100s"));
  EXPECT_THAT(JobDescription(job, {}, {}, "RUNNING", now), HasSubstr("\nworkers "));
}

v1::Event ParseEvent(const std::string& text) {
  v1::Event event;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &event));
  return event;
}

TEST(StepsBackTest, AGenerationThatBeginsBeforeTheLastStepWentBack) {
  const std::vector<v1::Event> events = {
      ParseEvent("generation_started { generation: 4 step: 100 }"),
      ParseEvent("steps_committed { steps { step: 137 } }"),
      ParseEvent("generation_ended { generation: 4 reason: 'w1 was lost' }"),
      // Went on, as it should.
      ParseEvent("generation_started { generation: 5 step: 138 }"),
      ParseEvent("generation_ended { generation: 5 reason: 'w2 was lost' }"),
      ParseEvent("time { seconds: 1000 } generation_started { generation: 6 step: 15 }"),
      ParseEvent("steps_committed { steps { step: 20 } }")};
  EXPECT_THAT(StepsBack(events, absl::FromUnixSeconds(1060)),
              ::testing::ElementsAre("from step 138 to 15, 60s ago: w2 was lost"));
}

TEST(UnstoredBestTest, ABetterEvaluationThanThatOfTheBestCheckpointIsTold) {
  const std::vector<v1::Event> events = {
      ParseEvent("evaluated { step: 0 metrics { key: 'accuracy' value: 0.99 } }"),
      ParseEvent("evaluated { step: 10 metrics { key: 'accuracy' value: 0.5 } }"),
      ParseEvent("evaluated { step: 20 metrics { key: 'accuracy' value: 0.75 } }"),
      ParseEvent("evaluated { step: 30 metrics { key: 'accuracy' value: nan } }"),
      ParseEvent("evaluated { step: 40 metrics { key: 'accuracy' value: 0.25 } }")};
  v1::KeepCheckpoints keep;
  keep.set_best_metric("accuracy");
  v1::Checkpoint best;
  *best.mutable_evaluation() = events[2].evaluated();
  EXPECT_EQ(UnstoredBest(keep, events, &best), "");
  *best.mutable_evaluation() = events[1].evaluated();
  EXPECT_EQ(UnstoredBest(keep, events, &best),
            "the best evaluation (step 20, accuracy 0.75) has no checkpoint; the best of those "
            "that are there is step 10, accuracy 0.5");
  EXPECT_EQ(UnstoredBest(keep, events, nullptr),
            "the best evaluation (step 20, accuracy 0.75) has no checkpoint; none that is there "
            "was evaluated");
  keep.set_least(true);
  EXPECT_EQ(UnstoredBest(keep, events, &best),
            "the best evaluation (step 40, accuracy 0.25) has no checkpoint; the best of those "
            "that are there is step 10, accuracy 0.5");
  EXPECT_EQ(UnstoredBest(keep, {}, nullptr), "");
}

TEST(TablesTest, ListsAreReadable) {
  const absl::Time now = absl::FromUnixSeconds(1100);
  EXPECT_EQ(JobsTable({Rotation()}, now),
            "NAME  STATE      STEPS  VALIDATION  WORKERS  AGE   REASON\n"
            "turn  SUCCEEDED  500    0.25        -        100s  all steps are done\n");
  v1::Worker worker;
  worker.set_name("workers/w1");
  worker.set_state(v1::FREE);
  worker.set_device_kind(v1::CPU);
  worker.set_host("h");
  worker.set_process_id(12);
  worker.mutable_last_heartbeat_time()->set_seconds(1099);
  EXPECT_EQ(
      WorkersTable({worker}, now),
      "NAME  STATE  DEVICE  HOST  PID  JOB  HEARTBEAT  REASON\nw1    FREE   CPU     h     12   "
      "-    1s ago\n");
  worker.set_state(v1::SET_ASIDE);
  worker.set_reason("cannot read /data; not used for 30 s");
  EXPECT_THAT(WorkersTable({worker}, now),
              AllOf(HasSubstr("SET_ASIDE"), HasSubstr("cannot read /data; not used for 30 s\n")));
  v1::Checkpoint checkpoint;
  checkpoint.set_name("jobs/turn/checkpoints/5");
  checkpoint.set_step(5);
  checkpoint.set_size_bytes(1500);
  checkpoint.set_sha256("ab");
  checkpoint.mutable_create_time()->set_seconds(1040);
  EXPECT_EQ(CheckpointsTable({checkpoint}, now),
            "NAME                     STEP  SIZE    AGE  SHA256\njobs/turn/checkpoints/5  5     "
            "1.5 kB  60s  ab\n");
  v1::Checkpoint best = checkpoint;
  best.set_best(true);
  best.mutable_evaluation()->set_step(5);
  (*best.mutable_evaluation()->mutable_metrics())["accuracy"] = 0.875;
  EXPECT_EQ(CheckpointsTable({best, checkpoint}, now),
            "NAME                     STEP  SIZE    AGE  BEST  EVALUATION        SHA256\n"
            "jobs/turn/checkpoints/5  5     1.5 kB  60s  best  accuracy 87.50 %  ab\n"
            "jobs/turn/checkpoints/5  5     1.5 kB  60s        -                 ab\n");
  EXPECT_THAT(JobDescription(Rotation(), {best, checkpoint}, {}, "SUCCEEDED", now),
              HasSubstr("2, the last at step 5, the best at step 5\n"));
}

}  // namespace
}  // namespace evograd
