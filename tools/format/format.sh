#!/usr/bin/env bash
# Formats C++, CUDA and BUILD files with the pinned clang-format and buildifier.
#   tools/format/format.sh            rewrites what is not formatted
#   tools/format/format.sh --check    changes nothing; fails and names the files
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
cache=${EVOGRAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/evograd}
buildifier_version=8.2.1
buildifier_sha256=6ceb7b0ab7cf66fceccc56a027d21d9cc557a7f34af37d2101edb56b92fcfa1a

clang_format=$(third_party/wheels/install.sh tools/format/requirements.lock 200)/clang_format/data/bin/clang-format
buildifier=$cache/buildifier-$buildifier_version
if [ ! -x "$buildifier" ]; then
  command -v npm >/dev/null || apt-get install -y --no-install-recommends npm >&2
  folder=$(mktemp -d)
  (cd "$folder" && npm pack --silent "@bazel/buildifier@$buildifier_version" >/dev/null && tar xzf ./*.tgz)
  echo "$buildifier_sha256  $folder/package/buildifier-linux_amd64" | sha256sum --check --quiet
  install -m 755 "$folder/package/buildifier-linux_amd64" "$buildifier"
  rm -rf "$folder"
fi

mapfile -t sources < <(git ls-files '*.cc' '*.h' '*.cu')
mapfile -t builds < <(git ls-files '*BUILD' '*.bzl' WORKSPACE '*/WORKSPACE')
if [ "${1:-}" = --check ]; then
  failed=0
  "$clang_format" --dry-run --Werror "${sources[@]}" || failed=1
  "$buildifier" -mode=check -lint=off "${builds[@]}" || failed=1
  [ $failed = 0 ] || { echo "format: run tools/format/format.sh" >&2; exit 1; }
  echo "format: ${#sources[@]} C++ and ${#builds[@]} BUILD files are formatted"
else
  "$clang_format" -i "${sources[@]}"
  "$buildifier" -lint=off "${builds[@]}"
fi
