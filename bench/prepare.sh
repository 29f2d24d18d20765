#!/usr/bin/env bash
# Makes the tests' environment ready for what is measured beside peers: what only bench needs joins it, and goes with it
# when that is made anew. Prints the Python to run.
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/prepare.sh >&2
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
exec 8>"$cache/.venv.lock"
flock 8
stamp=$cache/venv/.$(sha256sum bench/requirements.txt | cut -c1-16)
if [[ ! -e $stamp ]]; then
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r bench/requirements.txt >&2
  touch "$stamp"
fi
echo "$cache/venv/bin/python"
