#!/usr/bin/env bash
# The trap suite: every type of every store with its extreme values, exported by `lakegate serve` and read back by others,
# value by value (traps.py says how). The tests' own environment has pyarrow, DuckDB and PyIceberg; with --all Spark and
# Trino join them, which are brought from PyPI and Maven Central once (about 1.3 GB) and need Java 17 and 24.
#   tests/readers/traps.sh [--all] BINARY [--write docs/types.md]
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
bash tests/prepare.sh
readers=pyarrow,duckdb,pyiceberg
if [[ ${1:-} == --all ]]; then
  shift
  readers+=,spark,trino
  # Spark joins the tests' environment, and goes with it when that is made anew.
  exec 8>"$cache/.venv.lock"
  flock 8
  stamp=$cache/venv/.$(sha256sum tests/readers/requirements.txt | cut -c1-16)
  if [[ ! -e $stamp ]]; then
    "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r tests/readers/requirements.txt
    touch "$stamp"
  fi
  exec 8>&-
fi
exec "$cache/venv/bin/python" -B tests/readers/traps.py --readers "$readers" "$@"
