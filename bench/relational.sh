#!/usr/bin/env bash
# Measures queries over relational stores, on the release binary: TPC-H in PostgreSQL, its customers and orders in MariaDB
# too, both started here at their default settings. PostgreSQL itself, DuckDB with its scanners, and Trino answer the same
# questions in the same run, medians of five; every answer is compared with PostgreSQL's, and a wrong one voids the run.
# Takes about ten minutes, and as long again for Trino; exits 1 when a target is missed.
#   LAKEGATE_BINARY=target/release/lakegate bench/relational.sh
# LAKEGATE_BENCH_SCALE: TPC-H's scale factor (1: 6 million rows of lineitem); 0.01 is enough to try it.
# LAKEGATE_BENCH_TRINO=off: without Trino, which bench/trino.sh brings (820 MB).
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/prepare.sh
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
# What only this bench needs joins the tests' environment, and goes with it when that is made anew.
exec 8>"$cache/.venv.lock"
flock 8
stamp=$cache/venv/.$(sha256sum bench/requirements.txt | cut -c1-16)
if [[ ! -e $stamp ]]; then
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r bench/requirements.txt
  touch "$stamp"
fi
exec 8>&-
exec "$cache/venv/bin/python" bench/relational.py "${LAKEGATE_BINARY:-target/release/lakegate}"
