#!/usr/bin/env bash
# Measures queries over relational stores, on the release binary: TPC-H in PostgreSQL, its customers and orders in MariaDB
# too, both started here at their default settings. PostgreSQL itself, DuckDB with its scanners, and Trino answer the same
# questions in the same run, medians of five; every answer is compared with PostgreSQL's, and a wrong one voids the run.
# Takes about ten minutes, and as long again for Trino; exits 1 when a target is missed.
#   LAKEGATE_BINARY=target/release/lakegate bench/relational.sh [part …]   parts: analytic scan quick stream dashboard
# LAKEGATE_BENCH_SCALE: TPC-H's scale factor (1: 6 million rows of lineitem); 0.01 is enough to try it.
# LAKEGATE_BENCH_TRINO=off: without Trino, which bench/trino.sh brings (820 MB).
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(bash bench/prepare.sh)
exec "$python" bench/relational.py "${LAKEGATE_BINARY:-target/release/lakegate}" "$@"
