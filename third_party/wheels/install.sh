#!/usr/bin/env bash
# Installs the pinned wheels once into a per-user cache keyed by the lock file's hash; prints the folder on stdout.
#   install.sh [LOCKFILE [MIB]]      MIB: the free disk it needs; the cache is under ${EVOGRAD_CACHE:-${XDG_CACHE_HOME:-~/.cache}/evograd}
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lock=${1:-$here/requirements.lock}
need_mib=${2:-9000}
cache=${EVOGRAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evograd}
key=$(sha256sum "$lock" | cut -c1-16)
site=$cache/wheels-$key
if [ ! -e "$site/.complete" ]; then
  mkdir -p "$cache"
  exec 9>"$cache/wheels-$key.lock"
  flock -n 9 || { echo "wheels: another install is under way, waiting for it" >&2; flock 9; }
  if [ ! -e "$site/.complete" ]; then
    free_mib=$(df -Pm "$cache" | awk 'NR == 2 {print $4}')
    if [ "$free_mib" -lt "$need_mib" ]; then
      echo "wheels: $cache has $free_mib MiB free and the install needs $need_mib; free some or set EVOGRAD_CACHE" >&2
      exit 1
    fi
    echo "wheels: installing $(grep -c '==' "$lock") pinned packages, once, into $site" >&2
    rm -rf "$site.part"
    # pip counts packages by itself only on a terminal; its plain lines are the progress elsewhere.
    /usr/bin/python3 -m pip install --disable-pip-version-check --root-user-action=ignore --no-deps --require-hashes \
      --no-cache-dir --no-compile --only-binary :all: --target "$site.part" -r "$lock" >&2 || {
      echo "wheels: pip could not install $lock; its last lines above say why" >&2
      exit 1
    }
    touch "$site.part/.complete"
    rm -rf "$site" && mv "$site.part" "$site"
  fi
fi
echo "$site"
