// Goal: a worker behind a slow link that has much to say is not taken for dead: heartbeats go
// between the parts of its results, and each part counts. Method: real programs, between them a
// relay of 400 kbit/s; results of 480 kB take twice the time without a heartbeat after which a
// worker is lost.
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"
#include "tests/e2e/throttled_proxy.h"

namespace evograd::e2e {
namespace {

v1::JobSpec ManyHyperparameters(int64_t steps) {
  v1::JobSpec spec;
  v1::MetaWeightNet* net = spec.mutable_problem()->mutable_meta_weight_net();
  net->set_data_dir("/usr/share/datasets/fashion-mnist");
  net->set_model(v1::MetaWeightNet::LENET);
  net->set_train_examples(64);
  net->set_meta_examples(20);
  net->set_test_examples(20);
  net->set_batch_size(8);
  net->set_validation_batch_size(8);
  // Three numbers each and one more; step 0 sends them twice, 8 bytes each.
  net->set_weighting_hidden_units(10'000);
  spec.mutable_meta_optimizer()->set_learning_rate(0.001);
  spec.set_steps(steps);
  spec.set_seed(7);
  spec.set_min_workers(1);
  spec.set_max_workers(1);
  return spec;
}

TEST(SlowNetworkTest, LargeResultsDoNotCostTheWorker) {
  Cluster cluster;
  cluster.StartCoordinator();
  ThrottledProxy link(cluster.address(), 400'000 / 8);
  cluster.StartWorker("w1", {absl::StrCat("--coordinator=", link.address())});
  cluster.WaitForFreeWorkers(1);
  cluster.Submit("wide", ManyHyperparameters(2));
  const std::vector<v1::Event> events = cluster.AllEvents("wide");
  const v1::Job job = cluster.Get("wide");
  EXPECT_EQ(job.state(), v1::SUCCEEDED) << job.DebugString();
  EXPECT_EQ(CommittedSteps(events), StepsUpTo(2));
  EXPECT_EQ(job.recoveries() + job.restarts(), 0);
  EXPECT_EQ(job.generation(), 1);
}

}  // namespace
}  // namespace evograd::e2e
