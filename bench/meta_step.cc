// Time and memory of one meta-step, as multiples of a plain training step, for the rotation problem
// (LeNet, batch 128) and several populations:
//
//   meta_step [--device=cpu|cuda:0] [--steps=30] [--data_dir=FOLDER]
//
// Without a folder the pictures are random: figures do not depend on them. All jobs are stepped in
// turn, so that a machine's moods meet them alike; times are medians. Memory is the peak of tensor
// memory that a step adds, above what the job holds between steps, plus theta, gradient and
// optimiser state. Each line is one JSON object.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/status_macros.h"
#include "google/protobuf/text_format.h"
#include "spec/resolve.h"
#include "worker/collective/in_process_communicator.h"
#include "worker/engine/engine.h"
#include "worker/engine/memory_meter.h"

namespace evograd {
namespace {

constexpr int kWarmUpSteps = 3;
constexpr int kPictures = 2048;

struct Options {
  std::string device = "cpu";
  int steps = 30;
  std::string data_dir;
};

// One job and what was measured of it.
struct Entry {
  std::string name;
  std::unique_ptr<Engine> engine;
  std::vector<double> seconds;
  int64_t peak_bytes = 0;

  double Median() const {
    std::vector<double> sorted = seconds;
    std::nth_element(sorted.begin(), sorted.begin() + sorted.size() / 2, sorted.end());
    return sorted[sorted.size() / 2];
  }
};

void WriteBigEndian(std::ofstream& file, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) file.put(static_cast<char>(value >> shift));
}

// Random pictures and labels in MNIST's format.
void WritePictures(const std::string& folder) {
  std::mt19937 random(1);
  for (const std::string name : {"train", "t10k"}) {
    std::ofstream images(absl::StrCat(folder, "/", name, "-images-idx3-ubyte"), std::ios::binary);
    for (const uint32_t value : {0x803, kPictures, 28, 28}) WriteBigEndian(images, value);
    for (int i = 0; i < kPictures * 28 * 28; ++i) images.put(static_cast<char>(random()));
    std::ofstream labels(absl::StrCat(folder, "/", name, "-labels-idx1-ubyte"), std::ios::binary);
    for (const uint32_t value : {0x801, kPictures}) WriteBigEndian(labels, value);
    for (int i = 0; i < kPictures; ++i) labels.put(static_cast<char>(random() % 10));
  }
}

absl::StatusOr<std::unique_ptr<Engine>> MakeRotationEngine(const Options& options,
                                                           const std::string& estimator) {
  static const CancelFlag never{false};
  v1::JobSpec spec;
  const std::string text =
      absl::StrCat("problem { rotation { data_dir: '", options.data_dir, "' train_examples: 1024 ",
                   "validation_examples: 1024 } } steps: 1000000 estimator { ", estimator, " }");
  EVOGRAD_CHECK(google::protobuf::TextFormat::ParseFromString(text, &spec), text.c_str());
  for (const FieldViolation& violation : Resolve(&spec)) {
    return absl::InvalidArgumentError(absl::StrCat(violation.field, ": ", violation.description));
  }
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                           MakeEngine(spec, "bench", EngineOptions{options.device}, never));
  EVOGRAD_RETURN_IF_ERROR(engine->Initialise());
  return engine;
}

// Bytes of what the engine holds: its tensors, allocated once.
absl::StatusOr<int64_t> HeldBytes(const Engine& engine) {
  // Base and slots are saved; working and gradient, of base's size, are not.
  EVOGRAD_ASSIGN_OR_RETURN(const std::string state, engine.Serialise());
  constexpr int kSaved = 3;
  constexpr int kHeld = 5;
  return static_cast<int64_t>(state.size()) / kSaved * kHeld;
}

absl::Status Step(Entry* entry, Communicator* communicator, bool measured) {
  const MemoryMeter meter;
  const absl::Time start = absl::Now();
  EVOGRAD_RETURN_IF_ERROR(entry->engine->RunStep(*communicator));
  const absl::Duration time = absl::Now() - start;
  entry->engine->Forget(entry->engine->completed_steps());
  if (!measured) return absl::OkStatus();
  entry->seconds.push_back(absl::ToDoubleSeconds(time));
  EVOGRAD_ASSIGN_OR_RETURN(const int64_t held, HeldBytes(*entry->engine));
  entry->peak_bytes = std::max(entry->peak_bytes, held + meter.peak_bytes());
  return absl::OkStatus();
}

absl::Status Run(Options options) {
  if (options.data_dir.empty()) {
    char folder[] = "/tmp/meta_step.XXXXXX";
    EVOGRAD_CHECK(mkdtemp(folder) != nullptr, "/tmp can be written");
    options.data_dir = folder;
    WritePictures(folder);
  }
  std::vector<Entry> entries;
  const auto add = [&](const std::string& name, const std::string& estimator) -> absl::Status {
    EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Engine> engine,
                             MakeRotationEngine(options, estimator));
    entries.push_back({name, std::move(engine), {}, 0});
    return absl::OkStatus();
  };
  EVOGRAD_RETURN_IF_ERROR(add("vanilla", "kind: NONE"));
  for (const int population : {2, 4, 8, 16, 32}) {
    EVOGRAD_RETURN_IF_ERROR(
        add(absl::StrCat("evograd K=", population), absl::StrCat("population: ", population)));
  }
  EVOGRAD_RETURN_IF_ERROR(add("evograd K=2, graphs kept", "member_graph: RETAIN"));
  EVOGRAD_RETURN_IF_ERROR(add("evograd-shared K=2", "kind: EVOGRAD_SHARED"));
  EVOGRAD_RETURN_IF_ERROR(add("t1t2", "kind: T1T2"));

  const auto alone = InProcessCommunicator::CreateGroup(1, absl::Seconds(1));
  for (int step = -kWarmUpSteps; step < options.steps; ++step) {
    for (Entry& entry : entries) {
      EVOGRAD_RETURN_IF_ERROR(Step(&entry, alone[0].get(), step >= 0));
    }
  }
  for (const Entry& entry : entries) {
    std::printf(
        "{\"name\": \"%s\", \"device\": \"%s\", \"steps\": %d, \"ms\": %.2f, \"time_ratio\": %.2f, "
        "\"peak_mib\": %.2f, \"memory_ratio\": %.2f}\n",
        entry.name.c_str(), options.device.c_str(), options.steps, 1e3 * entry.Median(),
        entry.Median() / entries[0].Median(), entry.peak_bytes / 1048576.0,
        static_cast<double>(entry.peak_bytes) / entries[0].peak_bytes);
  }
  return absl::OkStatus();
}

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (absl::ConsumePrefix(&argument, "--device=")) {
      options->device = std::string(argument);
    } else if (absl::ConsumePrefix(&argument, "--data_dir=")) {
      options->data_dir = std::string(argument);
    } else if (!absl::ConsumePrefix(&argument, "--steps=") ||
               !absl::SimpleAtoi(argument, &options->steps) || options->steps < 1) {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace evograd

int main(int argc, char** argv) {
  evograd::Options options;
  if (!evograd::Parse(argc, argv, &options)) {
    std::fprintf(stderr,
                 "usage: meta_step [--device=cpu|cuda:0] [--steps=30] [--data_dir=FOLDER]\n");
    return 2;
  }
  const absl::Status status = evograd::Run(options);
  if (!status.ok()) std::fprintf(stderr, "meta_step: %s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
