#!/usr/bin/env bash
# Measures what the README claims, on the release binary: start to first answer, idle memory after the first run,
# the flights question warm, and memory while a large result streams to a client that only drains.
#   LAKEGATE_BINARY=target/release/lakegate bench/run.sh
# A peer, PostgreSQL with the same flights loaded, answers the same question in the same run when it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 bench/run.py "${LAKEGATE_BINARY:-target/release/lakegate}"
