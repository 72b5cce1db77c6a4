// Goal: a worker whose memory is too small for a job, at reading its data or in a step, is set
// aside for that job with the reason, and the job goes on elsewhere to the result of an undisturbed
// run. Method: real processes; the kernel is told to give one of them little more than it has when
// it is free (RLIMIT_DATA), less than one tensor of the job takes.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/e2e/harness.h"

namespace evograd::e2e {
namespace {

// What counts for RLIMIT_DATA.
int64_t DataBytes(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
  std::string word;
  int64_t kib = 0;
  while (status >> word && word != "VmData:") {
  }
  status >> kib;
  EXPECT_GT(kib, 0);
  return kib << 10;
}

// A job with the test images of Fashion-MNIST in both places, which are few.
v1::JobSpec LargeBatch(const std::string& folder) {
  constexpr char kData[] = "/usr/share/datasets/fashion-mnist/t10k";
  std::filesystem::create_directory(folder);
  for (const std::string set : {"train", "t10k"}) {
    for (const std::string file : {"-images-idx3-ubyte.gz", "-labels-idx1-ubyte.gz"}) {
      std::filesystem::create_symlink(kData + file, folder + "/" + set + file);
    }
  }
  v1::JobSpec spec = SmallRotation(2);
  v1::Rotation* rotation = spec.mutable_problem()->mutable_rotation();
  rotation->set_data_dir(folder);
  rotation->set_train_examples(2048);
  rotation->set_validation_examples(16);
  // A picture's first feature maps are 6 * 28 * 28 numbers: 38 MB for all, and again behind their
  // activation. Reading takes half of that.
  rotation->set_batch_size(2048);
  spec.mutable_estimator()->set_population(2);
  return spec;
}

class SmallMemoryTest : public testing::Test {
 protected:
  // A worker for which less than `spare_bytes` is left.
  void StartSmallWorker(int64_t spare_bytes) {
    cluster_.StartWorker("small");
    cluster_.WaitForWorker("small", v1::FREE, "");
    const pid_t pid = cluster_.worker("small").pid();
    const rlim_t bytes = DataBytes(pid) + spare_bytes;
    const rlimit limit = {bytes, bytes};
    ASSERT_EQ(prlimit(pid, RLIMIT_DATA, &limit, nullptr), 0) << strerror(errno);
  }

  void ExpectToGoOnWithoutTheSmallOne(v1::JobSpec spec, int64_t spare_bytes) {
    spec.set_max_workers(2);
    const v1::Job reference = RunUndisturbed(spec);
    cluster_.StartCoordinator();
    StartSmallWorker(spare_bytes);
    cluster_.StartWorker("large");
    cluster_.WaitForFreeWorkers(2);
    cluster_.Submit("goes-on", spec);
    cluster_.WaitForWorker("small", v1::FREE, "not used for jobs/goes-on");
    const std::string reason = cluster_.Worker("small").reason();
    EXPECT_TRUE(absl::StrContains(reason, "memory ran out")) << reason;
    cluster_.ExpectResultOf(reference, "goes-on");
    // It is still there, and good for what it can do.
    cluster_.KillWorker("large");
    cluster_.WaitForFreeWorkers(1);
    v1::JobSpec toy;
    toy.mutable_problem()->mutable_toy1d();
    toy.set_steps(5);
    cluster_.Submit("small-job", toy);
    EXPECT_EQ(cluster_.WaitForEnd("small-job").state(), v1::SUCCEEDED);
  }

  Cluster cluster_;
};

// The images of the train file are 47 MB.
TEST_F(SmallMemoryTest, ForTheData) {
  ExpectToGoOnWithoutTheSmallOne(SmallRotation(60), int64_t{40} << 20);
}

TEST_F(SmallMemoryTest, ForAStep) {
  ExpectToGoOnWithoutTheSmallOne(LargeBatch(cluster_.PathOf("pictures")), int64_t{64} << 20);
}

}  // namespace
}  // namespace evograd::e2e
