#include "server/rpc/coordinator_server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <mutex>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "common/unix_socket.h"
#include "server/rpc/event_pump.h"
#include "server/rpc/job_service.h"
#include "server/rpc/listener.h"
#include "server/rpc/stall_watch.h"
#include "server/rpc/worker_service.h"
#include "server/store/checkpoint_files.h"
#include "server/store/data_dir.h"
#include "server/store/disk_space.h"
#include "server/store/store.h"

namespace evograd {
namespace {

// Time for the last answers to leave.
constexpr auto kShutdownGrace = std::chrono::milliseconds(500);

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "[::1]" || absl::StartsWith(host, "127.");
}

void Configure(grpc::ServerBuilder* builder) {
  // Longer ones of workers come in parts.
  builder->SetMaxReceiveMessageSize(limits::kMaxMessageBytes);
  // Dead peers are noticed within interval + timeout; those who ping as often as the limits say are
  // welcome.
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, limits::kKeepaliveIntervalMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, limits::kKeepaliveTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, limits::kHandshakeTimeoutMs);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, limits::kIdleConnectionMs);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              limits::kMinPingIntervalMs / 2);
  grpc::ResourceQuota quota("coordinator");
  quota.Resize(static_cast<size_t>(limits::kServerMemoryBytes));
  quota.SetMaxThreads(limits::kMaxServerThreads);
  builder->SetResourceQuota(quota);
}

// Puts the checkpoints' files in order, and says what is not as it should be.
void TidyFiles(const Snapshot& snapshot, CheckpointFiles::Room room, CheckpointFiles* files,
               const std::function<void(const std::string&)>& on_notice) {
  const CheckpointFiles::Tidied tidied = files->Tidy(snapshot, room);
  if (!on_notice) return;
  if (tidied.set_aside > 0) {
    on_notice(absl::StrCat(
        tidied.set_aside, tidied.set_aside == 1 ? " checkpoint is" : " checkpoints are",
        " not in the store, because a kill came between, or an older copy of the store was put "
        "back; moved to checkpoints/unknown in the data directory"));
  }
  if (tidied.strangers > 0) {
    const int more = tidied.strangers - static_cast<int>(tidied.stranger_names.size());
    on_notice(absl::StrCat(
        "not a coordinator's, and left as it is: ", absl::StrJoin(tidied.stranger_names, ", "),
        more > 0 ? absl::StrCat(" and ", more, " more") : ""));
  }
}

}  // namespace

// In the order in which they are made; destroyed the other way round.
struct CoordinatorServer::Parts {
  ~Parts() { CloseStore(); }
  // The last connection to the store's file must be the one that may write: it folds the log in.
  void CloseStore() {
    if (loop != nullptr) loop->Stop();
    if (pump != nullptr) pump->Stop();
    if (listener != nullptr) listener->Stop();
    server.reset();
    watch.reset();
    // Threads of transfers may still be at their files.
    transfer.reset();
    pump.reset();
    loop.reset();
    data_dir.reset();
  }

  std::unique_ptr<DataDir> data_dir;
  std::unique_ptr<DiskSpace> space;
  std::unique_ptr<CheckpointFiles> files;
  std::unique_ptr<EventPump> pump;
  std::unique_ptr<CoordinatorLoop> loop;
  std::unique_ptr<CheckpointTransfer> transfer;
  std::unique_ptr<StallWatch> watch;
  std::unique_ptr<JobService> job_service;
  std::unique_ptr<WorkerService> worker_service;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<Listener> listener;
  std::once_flag stop;
};

CoordinatorServer::CoordinatorServer(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

CoordinatorServer::~CoordinatorServer() { Stop(); }

const std::string& CoordinatorServer::address() const { return parts_->listener->address(); }

absl::Status CheckListenAddress(const std::string& listen, bool insecure) {
  if (IsUnixAddress(listen)) return UnixSocketPath(listen).status();
  std::string host;
  int port = 0;
  if (!SplitAddress(listen, &host, &port)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "`", listen,
        "` is no address to listen on; give host:port, for example 127.0.0.1:7070, or unix:/PATH"));
  }
  if (IsLoopback(host) || insecure) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("other machines could reach ", listen,
                   ", and without encryption and authentication anybody there "
                   "could run and cancel jobs; this version has no TLS yet: listen on 127.0.0.1, "
                   "or say --insecure if the network is private"));
}

absl::StatusOr<std::unique_ptr<Store>> CoordinatorServer::OpenStore(
    const CoordinatorOptions& options, Parts* parts) {
  const std::string path = parts->data_dir->store_path();
  // Opening it writes, and needs room.
  parts->files->RemoveUnfinished();
  if (parts->space->MakeRoom()) {
    if (options.on_notice) {
      options.on_notice(
          absl::StrCat("the disk of ", parts->data_dir->path(),
                       " is full or nearly so; to start, the coordinator's own "
                       "leftovers and its reserve, where there is one, are given up"));
    }
    // Where it cannot be read like this, it may be readable the usual way.
    const absl::StatusOr<Snapshot> snapshot = Store::Peek(path);
    if (snapshot.ok())
      TidyFiles(*snapshot, CheckpointFiles::Room::kNone, parts->files.get(), options.on_notice);
  }
  return Store::Open(path);
}

absl::StatusOr<std::unique_ptr<CoordinatorServer>> CoordinatorServer::Start(
    const CoordinatorOptions& options) {
  EVOGRAD_RETURN_IF_ERROR(CheckListenAddress(options.listen, options.insecure));
  auto parts = std::make_unique<Parts>();
  EVOGRAD_ASSIGN_OR_RETURN(parts->data_dir, DataDir::Lock(options.data_dir));
  parts->space = std::make_unique<DiskSpace>(parts->data_dir->path());
  parts->files =
      std::make_unique<CheckpointFiles>(parts->data_dir->checkpoints_path(), parts->space.get());
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, OpenStore(options, parts.get()));
  EVOGRAD_ASSIGN_OR_RETURN(std::unique_ptr<EventReader> reader,
                           EventReader::Open(parts->data_dir->store_path()));
  parts->pump = std::make_unique<EventPump>(std::move(reader), options.watch_keepalive_ms);

  CoordinatorLoop::Options loop_options;
  loop_options.on_failure = options.on_failure;
  loop_options.on_job_changed = [pump = parts->pump.get()](const std::string& uid, bool ended) {
    pump->JobChanged(uid, ended);
  };
  loop_options.on_loaded = [files = parts->files.get(), space = parts->space.get(),
                            notice = options.on_notice](const Snapshot& snapshot) {
    TidyFiles(snapshot, CheckpointFiles::Room::kEnough, files, notice);
    space->KeepReserve();
    return absl::OkStatus();
  };
  EVOGRAD_ASSIGN_OR_RETURN(parts->loop,
                           CoordinatorLoop::Start(std::move(store), std::move(loop_options)));
  parts->watch = std::make_unique<StallWatch>(options.peer_stall_ms);
  parts->transfer = std::make_unique<CheckpointTransfer>(parts->loop.get(), parts->files.get(),
                                                         parts->watch.get(), options.on_notice);
  parts->job_service = std::make_unique<JobService>(
      WatchReactor::Shared{parts->loop.get(), parts->pump.get(), parts->watch.get()},
      parts->transfer.get());
  parts->worker_service =
      std::make_unique<WorkerService>(parts->loop.get(), parts->watch.get(), parts->transfer.get());

  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  EVOGRAD_ASSIGN_OR_RETURN(parts->listener, Listener::Bind(options.listen, options.on_notice));
  grpc::ServerBuilder builder;
  Configure(&builder);
  auto acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  builder.RegisterService(parts->job_service.get());
  builder.RegisterService(parts->worker_service.get());
  parts->server = builder.BuildAndStart();
  if (parts->server == nullptr) return absl::InternalError("gRPC's server does not start");
  parts->listener->Serve(std::move(acceptor));
  return std::unique_ptr<CoordinatorServer>(new CoordinatorServer(std::move(parts)));
}

void CoordinatorServer::Stop() {
  std::call_once(parts_->stop, [this] {
    if (auto* health = parts_->server->GetHealthCheckService(); health != nullptr)
      health->Shutdown();
    // First the loop: the streams that end now are no workers lost.
    parts_->loop->Stop();
    parts_->pump->Stop();
    parts_->listener->Stop();
    parts_->server->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
    parts_->server->Wait();
    parts_->CloseStore();
  });
}

}  // namespace evograd
