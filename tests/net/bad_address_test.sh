#!/usr/bin/env bash
# Goal: a worker whose --interface_address cannot be reached ends at once, saying so, before it can enter any group; so
# does one whose --coordinator can be no address, before it dials that for ever.
#
# Method: the real worker with addresses that are not this host's, that nobody can dial and that are none; its twin has
# an address of this host and dials on, though no coordinator answers.
set -euo pipefail
readonly worker=$1
readonly out=$TEST_TMPDIR/out

for address in 192.0.2.1 0.0.0.0 :: fe80::1 'no address'; do
  code=0
  timeout 60 "$worker" --coordinator=127.0.0.1:1 --device=cpu "--interface_address=$address" 2>"$out" || code=$?
  if [ $code != 2 ] || ! grep -q -- "--interface_address: .*'$address'" "$out"; then
    echo "FAILED: --interface_address=$address ended with code $code and said:" >&2
    cat "$out" >&2
    exit 1
  fi
done

code=0
timeout 60 "$worker" --coordinator=localhost --device=cpu 2>"$out" || code=$?
if [ $code != 2 ] || ! grep -q -- '--coordinator: `localhost` has no port' "$out"; then
  echo "FAILED: --coordinator=localhost ended with code $code and said:" >&2
  cat "$out" >&2
  exit 1
fi

setpriv --pdeathsig KILL "$worker" --coordinator=127.0.0.1:1 --device=cpu --interface_address=127.0.0.1 2>"$out" &
until grep -q "127.0.0.1:1" "$out"; do
  kill -0 $! 2>/dev/null || { echo "FAILED: with an address of this host it ended:" >&2; cat "$out" >&2; exit 1; }
  [ $SECONDS -lt 120 ] || { echo "FAILED: it did not dial:" >&2; cat "$out" >&2; exit 1; }
  sleep 0.05
done
kill -0 $!
kill $!
