#include "worker/agent/agent.h"

#include <pthread.h>

#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "spec/error.h"
#include "spec/retry.h"
#include "worker/agent/backoff.h"
#include "worker/core/failure.h"

namespace evograd::agent {
namespace {

constexpr std::chrono::milliseconds kTroubleInterval(limits::kTroubleIntervalMs);

// A fresh channel per dial: when to try again is decided here and nowhere else.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, limits::kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, limits::kKeepaliveIntervalMs);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, limits::kKeepaliveTimeoutMs);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

absl::Status ToStatus(const grpc::Status& status) {
  return StatusFromWire(status.error_code(), status.error_message(), status.error_details());
}

// Whether our coordinator said so: its errors carry its name, those of proxies and of other
// programs that have its port for a while do not.
bool IsOfCoordinator(const absl::Status& status) {
  return GetErrorInfo(status).domain == kErrorDomain;
}

// Whether dialling again would be answered the same way.
bool IsRefusal(const Stream::End& end) {
  if (end.welcomed || !IsOfCoordinator(ToStatus(end.status))) return false;
  switch (end.status.error_code()) {
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::PERMISSION_DENIED:
    case grpc::StatusCode::UNAUTHENTICATED:
      return true;
    default:
      return false;
  }
}

// Names of hosts and devices come from the system and may be any bytes; a protobuf string may not,
// and the coordinator could not read it.
v1::Hello Clean(v1::Hello hello) {
  hello.set_host(CleanText(hello.host()));
  hello.set_device_name(CleanText(hello.device_name()));
  hello.set_numerics(CleanText(hello.numerics()));
  hello.set_network(CleanText(hello.network()));
  return hello;
}

}  // namespace

Agent::Agent(AgentOptions options)
    : options_(std::move(options)),
      outbox_(limits::kMaxOutgoingMessages),
      runner_(RunnerOptions(), &rendezvous_, &watch_),
      machine_(Clean(options_.hello)),
      uploader_(UploaderOptions()),
      engine_thread_([this] { EngineLoop(); }) {}

Agent::~Agent() {
  Stop();
  engine_thread_.join();
  uploader_.reset();
}

EngineRunner::Options Agent::RunnerOptions() {
  EngineRunner::Options options;
  options.make_engine = options_.make_engine;
  options.make_communicator = options_.make_communicator;
  options.engine.device = options_.device;
  options.address = options_.address;
  options.cuda_device = options_.cuda_device;
  options.put = [this](int64_t generation, const std::string& key, const std::string& value) {
    Dispatch(RendezvousPut{generation, key, value});
  };
  options.download = [this](const std::string& name) {
    CheckpointTransfer::DownloadOptions download;
    download.say = [this](const std::string& text) { SayLine(text); };
    download.trouble = [this](const std::string& text) { Dispatch(RestoreTrouble{text}); };
    return download_.DownloadPatiently([this] { return stub(); }, name, download);
  };
  return options;
}

Uploader::Options Agent::UploaderOptions() {
  Uploader::Options options;
  options.stub = [this] { return stub(); };
  options.done = [this](absl::Status status) {
    watch_.Stores("", std::chrono::steady_clock::now());
    Dispatch(UploadOutcome{std::move(status)});
  };
  options.say = [this](const std::string& text) { SayLine(text); };
  options.trouble = [this](const std::string& text) { Dispatch(UploadTrouble{text}); };
  return options;
}

// ---- The machine and its actions
// -----------------------------------------------------------------

void Agent::Dispatch(Input input) {
  absl::MutexLock lock(&mutex_);
  for (Action& action : machine_.Handle(std::move(input))) {
    std::visit([this](auto& a) { Perform(a); }, action);
  }
}

void Agent::Perform(Send& action) { outbox_.Push(std::move(action.message)); }

void Agent::Perform(RunEngine& action) {
  if (exit_) return;
  runner_.Rearm();
  download_.Restart();
  // An engine that does not even begin stands still too.
  watch_.Does("its next task", std::chrono::steady_clock::now());
  task_ = std::move(action);
}

void Agent::Perform(StopEngine&) {
  runner_.Stop();
  download_.Stop();
}

void Agent::Perform(OpenRendezvous& action) { rendezvous_.Open(action.generation); }
void Agent::Perform(CloseRendezvous&) { rendezvous_.Close(); }
void Agent::Perform(DeliverRendezvous& action) {
  rendezvous_.Deliver(action.entry.key(), action.entry.value());
}

void Agent::Perform(StartUpload& action) {
  if (exit_) return;
  watch_.Stores(absl::StrCat("storing the checkpoint of step ", action.header.step()),
                std::chrono::steady_clock::now());
  uploader_->Start(std::move(action.header), runner_.TakeState());
}
void Agent::Perform(StopUpload&) { uploader_->Stop(); }

void Agent::Perform(Say& action) { SayLine(action.text); }

void Agent::EngineLoop() {
  // As `top -H` shows it.
  pthread_setname_np(pthread_self(), "engine");
  const auto due = [this]()
                       ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return exit_ || task_.has_value(); };
  while (true) {
    RunEngine task;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(&due));
      if (exit_) break;
      task = *std::exchange(task_, std::nullopt);
    }
    Dispatch(runner_.Run(task));
  }
  RunEngine drop;
  drop.task = EngineTask::kDrop;
  runner_.Run(drop);
}

// ---- The stream --------------------------------------------------------------------------------

absl::Status Agent::Run() {
  Backoff backoff(options_.reconnect_min, options_.reconnect_max);
  while (true) {
    const std::optional<Stream::End> end = Dial();
    if (!end) return absl::OkStatus();
    const absl::Status status = ToStatus(end->status);
    if (IsRefusal(*end)) return absl::Status(status.code(), status.message());
    if (end->welcomed) {
      backoff.Reset();
      trouble_said_.reset();
    }
    SayTrouble(end->status);
    const absl::Duration pause = AtLeast(GetRetryDelay(status), backoff.Next(Jitter()), Jitter());
    if (options_.wait_to_dial ? options_.wait_to_dial(pause) : stopped_.WaitFor(pause)) {
      return absl::OkStatus();
    }
  }
}

std::optional<Stream::End> Agent::Dial() {
  const Stub stub(v1::WorkerService::NewStub(MakeChannel(options_.coordinator)));
  const Stub transfers(v1::WorkerService::NewStub(MakeChannel(options_.coordinator)));
  Stream stream(stub.get(), &outbox_);
  {
    absl::MutexLock lock(&stream_mutex_);
    if (stopped_.IsSet()) return std::nullopt;
    stub_ = transfers;
    stream_ = &stream;
  }
  Stream::Events events;
  events.up = [this] { Dispatch(StreamUp{}); };
  events.message = [this](const v1::CoordinatorMessage& message) { Dispatch(message); };
  events.down = [this] { Dispatch(StreamDown{}); };
  events.heartbeat = [this] {
    return watch_.Look(std::chrono::steady_clock::now(), ProcessorSeconds(), ReadBytes());
  };
  const Stream::End end = stream.Run(events);
  absl::MutexLock lock(&stream_mutex_);
  stream_ = nullptr;
  if (stopped_.IsSet()) return std::nullopt;
  return end;
}

void Agent::SayTrouble(const grpc::Status& status) {
  const auto now = std::chrono::steady_clock::now();
  if (trouble_said_ && now - *trouble_said_ < kTroubleInterval) return;
  trouble_said_ = now;
  SayLine(absl::StrCat("no connection to the coordinator at ", options_.coordinator, " (",
                       status.error_message(), "); trying again until there is one"));
}

void Agent::SayLine(const std::string& text) {
  absl::MutexLock lock(&say_mutex_);
  options_.say(text);
}

Agent::Stub Agent::stub() {
  absl::MutexLock lock(&stream_mutex_);
  return stub_;
}

void Agent::Stop() {
  {
    absl::MutexLock lock(&stream_mutex_);
    stopped_.Set();
    if (stream_ != nullptr) stream_->Cancel();
  }
  {
    absl::MutexLock lock(&mutex_);
    exit_ = true;
    rendezvous_.Close();
    runner_.Stop();
  }
  download_.Stop();
  uploader_->Stop();
}

}  // namespace evograd::agent
