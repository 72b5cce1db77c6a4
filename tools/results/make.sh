#!/usr/bin/env bash
# Runs the jobs and peers of manifest.yaml that have no result yet and writes docs/results.md from all of them.
#   tools/results/make.sh [--only APPLICATION] [--seeds 1 2 3] [--quick] [--render-only] …      (--help shows all)
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
wheels=$(third_party/wheels/install.sh)
peers=$(third_party/wheels/install.sh third_party/peers/requirements.lock 1500)
PYTHONPATH=$wheels:$peers exec /usr/bin/python3 tools/results/make.py "$@"
