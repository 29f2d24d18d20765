#!/usr/bin/env bash
# The tests that need a cluster with a node: e2e.sh, then faults.
#   run.sh [--essential] BINARY
# --essential: those that every test run has time for, where this machine can be a node.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
select=()
if [[ ${1:-} == --essential ]]; then
  shift
  select=(-m essential)
  if [[ $(id -u) != 0 ]] || ! unshare --mount true 2>/dev/null; then
    echo "run.sh: NOT TESTED on a cluster: a node runs containers, which needs root (sudo make cluster)" >&2
    exit 0
  fi
fi
(($# == 1)) || { echo "usage: run.sh [--essential] BINARY" >&2; exit 2; }
export LAKEGATE_BINARY=$1

bash "$here/prepare.sh"
bash "$here/e2e.sh"
"$cache/venv/bin/python" -m pytest -q "${select[@]}" "$here"
