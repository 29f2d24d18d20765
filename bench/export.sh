#!/usr/bin/env bash
# Measures exports, on the release binary: TPC-H's lineitem from a PostgreSQL started here, at its default settings, into
# a lake of zstd Parquet. DuckDB with its PostgreSQL scanner, and ConnectorX with PyArrow, write the same rows in the same
# run; what each has written is compared with what PostgreSQL says, and a wrong value voids the run. Then what masks and a
# bucket cost, and TPC-H's 22 queries over the lake that was exported, beside DuckDB over the same files.
# Takes about ten minutes; exits 1 when a target is missed.
#   LAKEGATE_BINARY=target/release/lakegate bench/export.sh
# LAKEGATE_BENCH_SCALE: TPC-H's scale factor (1: 6 million rows of lineitem); 0.01 is enough to try it.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$(bash bench/prepare.sh)
exec "$python" bench/export.py "${LAKEGATE_BINARY:-target/release/lakegate}" "$@"
