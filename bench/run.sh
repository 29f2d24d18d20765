#!/usr/bin/env bash
# Measures what the README claims, on the release binary: start to first answer, idle memory after the first run,
# the flights question warm, and memory while a large result streams to a client that only drains. PostgreSQL with
# the same rows loaded, and DuckDB over the same files, answer in the same run.
#   LAKEGATE_BINARY=target/release/lakegate bench/run.sh
set -euo pipefail
cd "$(dirname "$0")/.."
bash tests/prepare.sh
exec "${LAKEGATE_CACHE:-$HOME/.cache/lakegate}/venv/bin/python" bench/run.py "${LAKEGATE_BINARY:-target/release/lakegate}"
