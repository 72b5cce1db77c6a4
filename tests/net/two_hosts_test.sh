#!/usr/bin/env bash
# Goal: workers on two hosts form a group with default flags, also where /etc/hosts maps each host's name to a loopback
# address (as Debian's installer does) and where one of them reaches the coordinator by loopback; the result is that of
# one worker alone.
#
# Method: two network namespaces with a cable between them are the hosts; each has its own /etc/hosts. The real
# coordinator runs on host 1, a real worker on each. Needs no rights beyond user namespaces; skipped, saying so, where
# the kernel has none, or no such cables.
#
# Everything is killed with this script (setpriv --pdeathsig), and a namespace goes with its last process.
set -euo pipefail

readonly patience=240  # seconds, for everything
readonly child=(setpriv --pdeathsig KILL)
readonly a=10.77.0.1 b=10.77.0.2  # in namespaces of their own: nobody else sees these

skip() {
  echo "SKIPPED: $*" >&2
  exit 0
}

fail() {
  echo "FAILED: $*" >&2
  tail -n 40 "$folder"/*.log >&2 || true
  exit 1
}

# Waits until a command succeeds.
await() {
  until "$@" 2>/dev/null; do
    [ $SECONDS -lt $patience ] || fail "waited in vain for: $*"
    sleep 0.05
  done
}

# ---- Outside: enter the namespaces of host 1
if [ "${1:-}" != inside ]; then
  for program in ip unshare nsenter setpriv; do
    [ -n "$(type -p "$program")" ] || PATH=$PATH:/usr/sbin:/sbin
    type -p "$program" >/dev/null || { echo "FAILED: $program is missing" >&2; exit 1; }
  done
  export PATH
  if unshare -Urnmu true 2>/dev/null; then
    exec "${child[@]}" unshare -Urnmu -- "$0" inside "$@"
  elif unshare -nmu true 2>/dev/null; then
    exec "${child[@]}" unshare -nmu -- "$0" inside "$@"
  fi
  skip "the kernel refuses network namespaces"
fi

# Another namespace has another working folder.
readonly evograd=$(realpath -s "$2") coordinator=$(realpath -s "$3") worker=$(realpath -s "$4")
folder=$(mktemp -d "${TEST_TMPDIR:-/tmp}/two-hosts-XXXXXX")
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT

# What each host calls itself is a loopback address.
hosts() {
  hostname "$1"
  printf '127.0.0.1 localhost\n127.0.1.1 %s\n%s\n' "$1" "$2" >"$folder/hosts-$1"
  mount --bind "$folder/hosts-$1" /etc/hosts
}

# ---- Host 1
hosts host1 "$b host2"
ip link set lo up
ip link add cable1 type veth peer name cable2 2>/dev/null || skip "the kernel has no virtual cables (veth)"

# ---- Host 2: a process that keeps its namespaces
"${child[@]}" unshare -nmu -- sleep $((2 * patience)) &
readonly host2=$!
on_host2() { nsenter -t "$host2" -n -m -u -- "$@"; }
differs() { [ "$(readlink /proc/$host2/ns/net)" != "$(readlink /proc/self/ns/net)" ] && on_host2 true; }
await differs
export -f hosts
export folder
on_host2 bash -c "hosts host2 '$a host1'"
ip link set cable2 netns "$host2"
ip addr add $a/24 dev cable1
ip link set cable1 up
on_host2 ip link set lo up
on_host2 ip addr add $b/24 dev cable2
on_host2 ip link set cable2 up
for host in host1 host2; do
  [ "$(getent hosts $host | cut -d' ' -f1)" = "$([ $host = host1 ] && echo 127.0.1.1 || echo $b)" ] ||
    fail "$host is not called what it should be"
done

"${child[@]}" "$coordinator" --data_dir="$folder/data" --listen=0.0.0.0:0 --insecure --port_file="$folder/port" \
  >"$folder/coordinator.log" 2>&1 &
readonly coordinator_pid=$!
serves_or_ended() { [ -s "$folder/port" ] || ! kill -0 $coordinator_pid; }
await serves_or_ended
[ -s "$folder/port" ] || fail "the coordinator ended"
port=$(sed 's/.*://' "$folder/port")

cli() { timeout $patience "$evograd" --coordinator "127.0.0.1:$port" "$@"; }

free_workers() { [ "$(cli workers 2>/dev/null | grep -c FREE)" = "$1" ]; }

# start_worker NAME COORDINATOR [on_host2]
start_worker() {
  local enter=()
  [ "${3:-}" != on_host2 ] || enter=(nsenter -t "$host2" -n -m -u --)
  "${child[@]}" "${enter[@]}" "$worker" --coordinator="$2" --device=cpu --worker_id="$1" >"$folder/$1.log" 2>&1 &
  worker_pid=$!
}

# run_job NAME WORKERS: prints the hash of the parameters.
run_job() {
  cat >"$folder/$1.yaml" <<JOB
problem:
  rotation: {data_dir: /usr/share/datasets/fashion-mnist, train_examples: 256, validation_examples: 128,
             test_examples: 64, batch_size: 16, validation_batch_size: 16}
estimator: {population: 4}
virtual_workers: 4
steps: 12
seed: 7
min_workers: $2
max_workers: $2
JOB
  await free_workers "$2"
  cli submit --name "$1" "$folder/$1.yaml" >/dev/null || fail "job $1 was not taken"
  cli wait "$1" >"$folder/$1.log" 2>&1 || fail "job $1 did not succeed"
  cli describe "$1" -o json | grep -o '"parametersSha256": *"[0-9a-f]*"' || fail "job $1 has no hash"
}

start_worker alone "host1:$port"
expected=$(run_job alone 1)
kill "$worker_pid"
await free_workers 0

start_worker distant "host1:$port" on_host2
# Host 1's worker reaches the coordinator by the host's name, which is loopback there, or by loopback itself, or by the
# cable.
for way in host1 127.0.0.1 $a; do
  start_worker "near-$way" "$way:$port"
  hash=$(run_job "two-${way//./-}" 2)
  [ "$hash" = "$expected" ] || fail "two hosts, coordinator at $way: $hash, one worker alone: $expected"
  echo "two hosts, coordinator at $way: $hash"
  kill "$worker_pid"
  await free_workers 1
done
