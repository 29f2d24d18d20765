#!/usr/bin/env bash
# Measures queries over relational stores, on the release binary: TPC-H in PostgreSQL, with customers and orders in MariaDB
# as well, beside PostgreSQL itself, DuckDB with its scanners, and Trino where its server is (LAKEGATE_BENCH_TRINO names
# the unpacked trino-server; it needs Java 24). Every peer's answer is compared with PostgreSQL's.
#   LAKEGATE_BINARY=target/release/lakegate LAKEGATE_BENCH_SCALE=1 bench/relational.sh
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/prepare.sh
cache=${LAKEGATE_CACHE:-$HOME/.cache/lakegate}
stamp=$cache/venv/.bench-$(sha256sum bench/requirements.txt | cut -c1-16)
if [[ ! -e $stamp ]]; then
  "$cache/venv/bin/pip" install --quiet --disable-pip-version-check -r bench/requirements.txt
  touch "$stamp"
fi
exec "$cache/venv/bin/python" bench/relational.py "${LAKEGATE_BINARY:-target/release/lakegate}"
